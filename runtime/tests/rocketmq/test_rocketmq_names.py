"""Names, addresses and message formats: what other programs rely on."""

from pathlib import Path

import pytest
from a2a.types import a2a_pb2 as pb

from engines.certificate import make_certificate
from parley_core.errors import ConfigurationError
from parley_runtime.bus import Wake
from parley_runtime.buses.session_message import LARGEST, decode, encode
from parley_runtime.rocketmq import names
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.credentials import ACCESS_KEY, SECRET_KEY, Credentials
from parley_runtime.store import ERROR, MESSAGE, LoggedEvent

AWKWARD = ["coder", "the coder", "Köder", "a" * 100, "a.b", "-", "x" * 51]


@pytest.mark.parametrize("agent", AWKWARD)
def test_every_name_is_one_that_rocketmq_takes(agent: str) -> None:
    made = [
        names.work(agent, "1.2.0"), names.events(agent), names.front(agent, "host-1-a"), names.inbox(agent),
        names.dead(agent), names.session(agent), names.beat("host"),
    ]  # fmt: skip
    for name in made:
        assert 0 < len(name) <= 64
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def test_what_differs_is_named_differently() -> None:
    assert len({names.events(agent) for agent in AWKWARD}) == len(AWKWARD)
    assert names.work("a-b", "c") != names.work("a", "b-c")
    assert names.work("a", "1.0") != names.work("a", "1-0")
    assert names.session("a b") != names.session("a-b")


def test_plain_names_stay_as_they_are() -> None:
    assert names.events("coder") == "parley-events-coder"
    assert names.inbox("coder") == "parley-in-coder"
    assert names.dead("coder") == "parley-dead-coder"
    assert names.session("3f1c-c0ffee") == "3f1c-c0ffee"
    assert names.work("coder", "1.0").startswith("parley-work-coder-1-0-")


def test_the_groups_of_an_agents_fronts_are_told_from_those_of_another() -> None:
    for agent in AWKWARD:
        assert names.is_front(agent, names.front(agent, "h1"))
    assert not names.is_front("coder", names.front("coder-2", "h1"))
    assert not names.is_front("coder", names.work("coder", "1"))


def test_an_address_has_defaults() -> None:
    assert RocketAddress.parse("rocketmq://mq") == RocketAddress("mq", 8081, ("mq", 9876))
    assert RocketAddress.parse("rocketmq://mq:1?namesrv=ns:2") == RocketAddress("mq", 1, ("ns", 2))
    assert RocketAddress.parse("rocketmq://[::1]:1").target == "[::1]:1"


@pytest.mark.parametrize(
    "url",
    [
        "rocketmq://", "http://mq", "rocketmq://mq:99999", "rocketmq://mq/path", "rocketmq://mq?namesrv=ns",
        "rocketmq://mq?what=1", "rocketmq://key:secret@mq",
    ],
)  # fmt: skip
def test_another_address_is_refused_with_the_form_to_use(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"use rocketmq|use \?|set PARLEY") as refused:
        RocketAddress.parse(url)
    assert "secret" not in str(refused.value)


def test_an_address_may_ask_for_tls_and_name_an_authority(tmp_path: Path) -> None:
    make_certificate(tmp_path / "ca.crt", tmp_path / "ca.key")
    address = RocketAddress.parse(f"rocketmqs://mq?ca={tmp_path / 'ca.crt'}")
    assert (address.tls, address.ca) == (True, (tmp_path / "ca.crt").read_bytes())
    assert RocketAddress.parse("rocketmqs://mq").ca is None
    for url in ("rocketmqs://mq?ca=/nowhere.pem", f"rocketmqs://mq?ca={tmp_path / 'ca.key'}"):
        with pytest.raises(ConfigurationError, match="no certificates can be read"):
            RocketAddress.parse(url)
    with pytest.raises(ConfigurationError, match="rocketmqs://"):
        RocketAddress.parse(f"rocketmq://mq?ca={tmp_path / 'ca.crt'}")


def test_an_access_key_comes_from_a_file_or_the_environment_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tools.yml"
    file.write_text("accessKey: agent\nsecretKey: 'of its own'\n")
    expected = Credentials("agent", "of its own")
    url = f"rocketmq://mq?credentials={file}"
    assert RocketAddress.parse(url).credentials == expected
    assert "of its own" not in repr(RocketAddress.parse(url))
    monkeypatch.setenv(ACCESS_KEY, "agent")
    with pytest.raises(ConfigurationError, match=SECRET_KEY):
        RocketAddress.parse("rocketmq://mq")
    monkeypatch.setenv(SECRET_KEY, "of its own")
    assert RocketAddress.parse("rocketmq://mq").credentials == expected
    for text in ("accessKey: agent\n", "no key"):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match="accessKey"):
            RocketAddress.parse(url)
    with pytest.raises(ConfigurationError, match="No such file"):
        RocketAddress.parse("rocketmq://mq?credentials=/nowhere.yml")


def events(*bodies: bytes) -> list[LoggedEvent]:
    return [LoggedEvent(n, body, 2, 1.5 * n, 1) for n, body in enumerate(bodies, 1)]


def test_what_is_encoded_is_decoded_byte_for_byte() -> None:
    given = [
        LoggedEvent(7, b'{"task":{"id":"t"}}', 1, 12.5, 2),
        LoggedEvent(8, '{"statusUpdate":"ä"}'.encode(), 3, 13.0, 2),
        LoggedEvent(9, b'{"message":{}}', MESSAGE, 13.0, 2),
        LoggedEvent(10, b'{"error":{}}', ERROR, 13.0, 2),
    ]
    [body] = encode("coder", "h", "t", "c", Wake(given, pb.Task(id="t", context_id="c")))
    said = decode(body)
    assert (said.sender, said.task_id, list(said.wake.events)) == ("h", "t", given)
    assert said.wake.task == pb.Task(id="t", context_id="c")


def test_many_events_travel_in_several_messages_and_one_too_large_is_only_said_to_be_there() -> None:
    half = b'"' + b"x" * (LARGEST * 2 // 3) + b'"'
    huge = b'"' + b"x" * LARGEST + b'"'
    given = events(b"1", half, half, huge, b"5")
    made = [decode(body).wake for body in encode("a", "h", "t", "c", Wake(given, pb.Task(id="t")))]
    assert [wake.task is not None for wake in made] == [False, False, False, True]
    assert [[e.generation for e in wake.events] for wake in made] == [[1, 2], [3], [], [5]]


def test_nothing_to_carry_is_a_message_too() -> None:
    [body] = encode("a", "h", "t", "c", Wake())
    assert decode(body).wake == Wake([])


def test_a_task_that_is_too_large_stays_away() -> None:
    task = pb.Task(id="t", artifacts=[pb.Artifact(parts=[pb.Part(text="x" * LARGEST)])])
    [body] = encode("a", "h", "t", "c", Wake(events(b"1"), task))
    assert decode(body).wake.task is None


@pytest.mark.parametrize(
    "body", [b"", b"beat", b"{}", b"[]", b'{"events":[{}]}', b'{"events":1}', b"\xff\n1"]
)
def test_what_is_no_message_of_a_session_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode(body)
