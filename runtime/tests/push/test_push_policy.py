"""What becomes of a notification is decided by how its attempt ended, how often and how long it was tried."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_runtime.push.hosts import Hosts
from parley_runtime.push.policy import Decision, Outcome, PushPolicy, backoff, decide

POLICY = PushPolicy(give_up=1000.0)
NOW = 1_800_000_000.0


def after(outcome: Outcome, attempts: int = 1, age: float = 0.0) -> Decision:
    return decide(outcome, attempts, age, NOW, POLICY)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_delivered(status: int) -> None:
    assert after(Outcome(status), 99, 1e9).kind == "delivered"


def test_gone_stops_the_configuration() -> None:
    assert after(Outcome(410)).kind == "stop"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 301, 302, 307, 304])
def test_a_refusal_is_tried_a_few_times_and_then_given_up(status: int) -> None:
    assert after(Outcome(status), POLICY.refusals - 1).kind == "retry"
    last = after(Outcome(status), POLICY.refusals)
    assert last.kind == "give_up"
    assert str(status) in last.reason
    assert not last.old


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 0])
def test_what_may_pass_is_tried_until_it_is_too_old(status: int) -> None:
    outcome = Outcome(status, reason="" if status else "no answer")
    assert after(outcome, 500, 999.0).kind == "retry"
    last = after(outcome, 500, 1000.0)
    assert (last.kind, last.old) == ("give_up", True)
    assert "0.3 hours" in last.reason


def test_a_refused_url_is_not_tried_again() -> None:
    assert after(Outcome(reason="loopback", final=True)) == Decision("give_up", "loopback")


def test_pauses_grow_are_spread_and_bounded() -> None:
    for attempts in (1, 2, 5, 10, 1000):
        ceiling = min(300.0, 2.0 ** min(attempts - 1, 30))
        pauses = [backoff(attempts, 1.0, 300.0) for _ in range(300)]
        assert 0.1 <= min(pauses) < ceiling * 0.3 + 0.1
        assert ceiling * 0.7 < max(pauses) <= ceiling


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("120", 120, 120),
        ("999999999", 3600, 3600),
        ("99999999999999999999999999", 3600, 3600),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60, 60),
        ("Fri, 15 Jan 1999 08:01:00 GMT", 0, 1),
        ("-5", 0, 1),
        ("soon", 0, 1),
        ("", 0, 1),
    ],
)
def test_retry_after_is_honoured_within_bounds(header: str, least: float, most: float) -> None:
    assert least <= after(Outcome(503, retry_after=header)).pause <= most


def test_a_host_takes_only_so_many_at_once() -> None:
    hosts = Hosts(2, 100, 100)
    url = "https://a.example/x"
    assert [hosts.enter(url), hosts.enter("https://A.example/y"), hosts.enter(url)] == [0, 0, math.inf]
    assert hosts.enter("https://b.example/") == 0
    hosts.leave(url)
    assert hosts.enter(url) == 0


def test_a_host_that_did_not_answer_is_left_in_peace_then_tried_by_one() -> None:
    hosts = Hosts(4, 100, 100)
    url = "https://a.example/"
    assert hosts.enter(url) == 0
    hosts.answered(url, 0.0, well=False)
    hosts.leave(url)
    assert 0 < hosts.enter(url) < 62
    deadline = time.monotonic() + 5
    while hosts.enter(url) != 0:
        assert time.monotonic() < deadline
    assert hosts.enter(url) == math.inf
    hosts.answered(url, 0.0, well=True)
    assert hosts.enter(url) == 0


def test_however_many_hosts_are_slow_there_are_places_for_the_quick() -> None:
    hosts = Hosts(4, 3, 2)
    for n in range(2):
        hosts.enter(f"https://quick{n}.example/")
        hosts.answered(f"https://quick{n}.example/", 0.05, well=True)
        hosts.leave(f"https://quick{n}.example/")
    slow = [hosts.enter(f"https://slow{n}.example/") for n in range(5)]
    assert slow[:3] == [0, 0, 0]
    assert all(0 < wait < 2 for wait in slow[3:])
    assert [hosts.enter(f"https://quick{n}.example/") for n in range(2)] == [0, 0]
    for n in range(3):
        hosts.answered(f"https://slow{n}.example/", 3.0, well=True)
        hosts.leave(f"https://slow{n}.example/")
    slow = [hosts.enter(f"https://slow{n}.example/") for n in range(3)]
    assert slow[:2] == [0, 0]
    assert 1.5 <= slow[2] <= 4.5
    assert hosts.enter("https://new.example/") == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 3), st.booleans()), max_size=200))
def test_every_place_is_given_back(steps: list[tuple[int, float, bool]]) -> None:
    hosts = Hosts(2, 3, 3)
    inside: list[str] = []
    for which, seconds, well in steps:
        url = f"https://h{which}.example/"
        if url in inside and seconds < 1.5:
            hosts.answered(url, seconds, well=well)
            hosts.leave(url)
            inside.remove(url)
        elif hosts.enter(url) == 0:
            inside.append(url)
    for url in inside:
        hosts.leave(url)
    fresh = [hosts.enter(f"https://new{n}.example/") for n in range(4)]
    assert fresh[:3] == [0, 0, 0]
    assert fresh[3] > 0
