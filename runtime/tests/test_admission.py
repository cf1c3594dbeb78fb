"""On what terms a message waits: who may choose them, and how they are written."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from a2a.auth.user import User
from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidParamsError
from pydantic import ValidationError

from parley_runtime.admission import DEADLINE, PRIORITY, Admission
from parley_runtime.settings import HostSettings
from parley_runtime.store import NORMAL

ADMISSION = Admission(frozenset({"boss"}), {"batch": 1, "boss": 5})


class Named(User):
    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def user_name(self) -> str:
        return self._name


def call(caller: str, tenant: str = "") -> ServerCallContext:
    return ServerCallContext(user=Named(caller), tenant=tenant)


def request(on_message: dict[str, Any] | None = None, on_request: dict[str, Any] | None = None) -> Any:
    params = pb.SendMessageRequest(message=pb.Message(message_id="m"))
    params.message.metadata.update(on_message or {})
    params.metadata.update(on_request or {})
    return params


def test_who_asks_for_nothing_has_the_class_that_the_operator_gave() -> None:
    assert ADMISSION.terms(request(), call("someone")).priority == NORMAL
    assert ADMISSION.terms(request(), call("batch")).priority == 1
    assert ADMISSION.terms(request({"other": 1}), call("batch")).priority == 1


def test_a_trusted_caller_chooses_and_the_messages_word_counts_before_the_requests() -> None:
    assert ADMISSION.terms(request({PRIORITY: 7}), call("boss")).priority == 7
    assert ADMISSION.terms(request(None, {PRIORITY: 0}), call("boss")).priority == 0
    assert ADMISSION.terms(request({PRIORITY: 2}, {PRIORITY: 6}), call("boss")).priority == 2


@pytest.mark.parametrize("caller", ["someone", "batch", "local"])
def test_others_may_not_choose(caller: str) -> None:
    with pytest.raises(InvalidParamsError, match="may not choose priorities"):
        ADMISSION.terms(request({PRIORITY: 7}), call(caller))


@pytest.mark.parametrize("wrong", [-1, 8, 3.5, "7", True, None, [3]])
def test_a_priority_is_a_whole_number_from_0_to_7(wrong: Any) -> None:
    with pytest.raises(InvalidParamsError, match="whole number from 0 to 7"):
        ADMISSION.terms(request({PRIORITY: wrong}), call("boss"))


def test_a_caller_is_one_tenant_whatever_it_names_unless_it_is_trusted() -> None:
    assert ADMISSION.terms(request(), call("someone", "acme")).tenant == "someone"
    assert ADMISSION.terms(request(), call("boss", "acme")).tenant == "boss#acme"
    assert ADMISSION.terms(request(), call("boss")).tenant == "boss"


def test_a_deadline_is_seconds_or_a_time_and_anybody_may_set_one() -> None:
    assert ADMISSION.terms(request({DEADLINE: 2.5}), call("someone")).expires_in == 2.5
    at = datetime.now(UTC) + timedelta(seconds=60)
    for text in (at.isoformat(), at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")):
        left = ADMISSION.terms(request({DEADLINE: text}), call("someone")).expires_in
        assert left is not None
        assert 58 < left <= 60


def test_a_time_that_has_passed_leaves_no_seconds() -> None:
    """It is no error: the message may be a repeat, whose answer is known."""
    past = datetime.fromtimestamp(time.time() - 60, UTC).isoformat()
    assert ADMISSION.terms(request({DEADLINE: past}), call("someone")).expires_in == 0


@pytest.mark.parametrize("wrong", [0, -5, "soon", "2026-01-31T12:00:00", 1e12, float("nan"), True, {}])
def test_any_other_deadline_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidParamsError, match="number of seconds from now, or a time with its zone"):
        ADMISSION.terms(request({DEADLINE: wrong}), call("someone"))


def test_classes_are_read_from_one_line() -> None:
    settings = HostSettings(trusted="https://issuer|a,b", classes="https://issuer|x=1=7, other=0")  # type: ignore[arg-type]
    assert settings.trusted == ("https://issuer|a", "b")
    assert settings.classes == {"https://issuer|x=1": 7, "other": 0}


@pytest.mark.parametrize("wrong", ["a", "a=", "=3", "a=high", "a=8"])
def test_classes_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"caller=5,other=1|priority from 0 to 7"):
        HostSettings(classes=wrong)  # type: ignore[arg-type]
