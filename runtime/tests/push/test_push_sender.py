"""The sender against real receivers: slow, dead, flapping, refusing, redirecting, and over its own death."""

import asyncio
import base64
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import orjson
import pytest
from a2a.types import a2a_pb2 as pb
from backends import opened_on

from parley_core.urlguard import UrlGuard, resolve
from parley_runtime.push.outbox import Outbox
from parley_runtime.push.policy import PushPolicy
from parley_runtime.push.sender import Sender

pytestmark = pytest.mark.processes

LOOPBACK = [ip_network("127.0.0.0/8")]
QUICK = PushPolicy(attempt=2.0, lease=3.0, first_pause=0.05, longest_pause=0.2, poll=0.02)


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for a condition, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


async def until_async(condition: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def sending(
    outbox: Outbox, policy: PushPolicy = QUICK, guard: UrlGuard | None = None
) -> AsyncIterator[Sender]:
    sender = Sender(outbox, guard or UrlGuard(LOOPBACK), f"sender-{time.monotonic_ns()}", policy)
    running = asyncio.create_task(sender.run())
    try:
        yield sender
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def config(url: str, config_id: str = "c", **more: Any) -> pb.TaskPushNotificationConfig:
    return pb.TaskPushNotificationConfig(id=config_id, url=url, **more)


async def test_a_notification_is_what_the_specification_says(
    task: Any, outbox: Outbox, receiver: Any
) -> None:
    bearer = pb.AuthenticationInfo(scheme="Bearer", credentials="abc.def")
    pushed = await task(config(receiver.url, token="tok", authentication=bearer))
    await pushed.emit()
    async with sending(outbox):
        await until(lambda: receiver.requests)
    headers, body = receiver.requests[0]
    assert headers["content-type"] == "application/a2a+json"
    assert headers["authorization"] == "Bearer abc.def"
    assert headers["x-a2a-notification-token"] == "tok"
    assert headers["a2a-version"] == "1.0"
    assert headers["idempotency-key"] == f"{pushed.id}/1"
    assert headers["traceparent"].startswith("00-" + "a" * 32 + "-")
    assert "b" * 16 not in headers["traceparent"]
    assert list(orjson.loads(body)) == ["statusUpdate"]


async def test_basic_credentials_go_out_as_they_were_given(task: Any, outbox: Outbox, receiver: Any) -> None:
    credentials = base64.b64encode(b"user:pass").decode()
    basic = pb.AuthenticationInfo(scheme="Basic", credentials=credentials)
    await (await task(config(receiver.url, authentication=basic))).emit()
    async with sending(outbox):
        await until(lambda: receiver.requests)
    assert receiver.requests[0][0]["authorization"] == f"Basic {credentials}"
    assert "x-a2a-notification-token" not in receiver.requests[0][0]


async def test_all_events_arrive_in_order_and_once(task: Any, outbox: Outbox, receiver: Any) -> None:
    pushed = await task(config(receiver.url))
    async with sending(outbox) as sender:
        for _ in range(10):
            await pushed.emit(10)
            sender.wake()
        await until(lambda: len(receiver.requests) == 100)
        await until_async(lambda: _empty(outbox))
    assert receiver.generations == list(range(1, 101))


async def _empty(outbox: Outbox) -> bool:
    return (await outbox.state()).pending == 0


async def test_a_flapping_receiver_gets_everything_in_order(task: Any, outbox: Outbox, receiver: Any) -> None:
    receiver.answers = lambda n: (0.0, 503 if n % 3 else 200, "")
    await (await task(config(receiver.url))).emit(6)
    async with sending(outbox):
        await until_async(lambda: _empty(outbox))
    firsts = list(dict.fromkeys(receiver.generations))
    assert firsts == [1, 2, 3, 4, 5, 6]
    assert receiver.generations == sorted(receiver.generations)
    assert len(receiver.requests) == 18


async def test_a_dead_receiver_with_a_thousand_waiting_delays_nobody(
    task: Any, outbox: Outbox, receiver: Any, dead_url: str
) -> None:
    for _ in range(5):
        await (await task(config(dead_url))).emit(100)
    for _ in range(500):
        await (await task(config(dead_url))).emit()
    async with sending(outbox) as sender:
        await asyncio.sleep(0.3)
        live = await task(config(receiver.url))
        for n in range(5):
            started = time.monotonic()
            await live.emit()
            sender.wake()
            await until(lambda n=n: len(receiver.requests) == n + 1)
            assert time.monotonic() - started < 15.0
        await until_async(lambda: _only_for_the_dead(outbox))


async def _only_for_the_dead(outbox: Outbox) -> bool:
    return (await outbox.state()).pending == 1000


async def test_receivers_that_do_not_answer_hold_up_nobody(
    task: Any, outbox: Outbox, receiver: Any, other_receiver: Any
) -> None:
    other_receiver.answers = lambda _: (30.0, 200, "")
    for _ in range(30):
        await (await task(config(other_receiver.url))).emit()
    live = await task(config(receiver.url))
    await live.emit(5)
    started = time.monotonic()
    async with sending(outbox):
        await until(lambda: len(receiver.requests) == 5)
    assert time.monotonic() - started < 15.0
    assert other_receiver.most_under_way <= QUICK.at_once_per_host


async def test_a_slow_receiver_gets_at_most_a_few_at_once_and_never_two_of_a_task(
    task: Any, outbox: Outbox, receiver: Any
) -> None:
    receiver.answers = lambda _: (0.1, 200, "")
    for _ in range(12):
        await (await task(config(receiver.url))).emit(2)
    async with sending(outbox):
        await until_async(lambda: _empty(outbox))
    assert receiver.most_under_way == QUICK.at_once_per_host
    seen: dict[str, list[int]] = {}
    for headers, _ in receiver.requests:
        name, _, number = headers["idempotency-key"].partition("/")
        seen.setdefault(name, []).append(int(number))
    assert all(numbers == [1, 2] for numbers in seen.values())


async def test_an_attempt_that_takes_too_long_is_made_again(task: Any, outbox: Outbox, receiver: Any) -> None:
    receiver.answers = lambda n: (5.0 if n == 1 else 0.0, 200, "")
    await (await task(config(receiver.url))).emit(2)
    policy = PushPolicy(attempt=0.2, lease=1.0, first_pause=0.05, longest_pause=0.1, poll=0.02)
    async with sending(outbox, policy):
        await until_async(lambda: _empty(outbox))
    assert receiver.generations == [1, 1, 2]


async def test_a_redirect_is_not_followed_and_given_up_after_a_few_times(
    task: Any, outbox: Outbox, receiver: Any, other_receiver: Any
) -> None:
    receiver.answers = lambda _: (0.0, 307, f"Location: {other_receiver.url}\r\n")
    pushed = await task(config(receiver.url))
    await pushed.emit()
    async with sending(outbox):
        await until_async(lambda: _empty(outbox))
    assert len(receiver.requests) == QUICK.refusals
    assert other_receiver.requests == []
    assert "307; redirects are not followed" in (await outbox.failures(pushed.id))[0].reason


async def test_a_refused_notification_lets_those_behind_it_go(
    task: Any, outbox: Outbox, receiver: Any
) -> None:
    receiver.answers = lambda n: (0.0, 422 if n <= QUICK.refusals else 200, "")
    pushed = await task(config(receiver.url))
    await pushed.emit(2)
    async with sending(outbox):
        await until_async(lambda: _empty(outbox))
    assert receiver.generations == [1] * QUICK.refusals + [2]
    failure = (await outbox.failures(pushed.id))[0]
    assert (failure.generation, failure.given_up) == (1, True)
    assert "422" in failure.reason


async def test_gone_ends_a_configuration(task: Any, outbox: Outbox, receiver: Any) -> None:
    receiver.answers = lambda _: (0.0, 410, "")
    pushed = await task(config(receiver.url))
    await pushed.emit(3)
    async with sending(outbox) as sender:
        await until_async(lambda: _empty(outbox))
        await pushed.emit()
        sender.wake()
        await until_async(lambda: _empty(outbox))
    assert receiver.generations == [1]
    assert "410" in (await outbox.failures(pushed.id))[0].reason


async def test_what_never_arrives_is_given_up_after_the_stated_time_with_the_reason(
    task: Any, outbox: Outbox, dead_url: str
) -> None:
    pushed = await task(config(dead_url))
    await pushed.emit(3)
    policy = PushPolicy(give_up=0.3, first_pause=0.05, longest_pause=0.1, poll=0.02, attempt=2.0, lease=3.0)
    async with sending(outbox, policy):
        await until_async(lambda: _empty(outbox))
    failures = await outbox.failures(pushed.id)
    assert [f.generation for f in failures] == [1, 2, 3]
    assert all(f.given_up and "ConnectError" in f.reason for f in failures)


async def test_retry_after_is_waited_for(task: Any, outbox: Outbox, receiver: Any) -> None:
    receiver.answers = lambda n: (0.0, 429 if n == 1 else 200, "Retry-After: 1\r\n")
    await (await task(config(receiver.url))).emit()
    started = time.monotonic()
    async with sending(outbox):
        await until(lambda: len(receiver.requests) == 2)
    assert time.monotonic() - started >= 1.0


async def test_a_url_that_leads_inside_is_not_called_although_it_was_set(
    task: Any, outbox: Outbox, receiver: Any
) -> None:
    pushed = await task(config(receiver.url))
    await pushed.emit()
    async with sending(outbox, guard=UrlGuard()):
        await until_async(lambda: _empty(outbox))
    assert receiver.requests == []
    failure = (await outbox.failures(pushed.id))[0]
    assert failure.given_up
    assert "--push-allow 127.0.0.0/8" in failure.reason


async def test_a_name_that_does_not_resolve_now_is_tried_again(
    task: Any, outbox: Outbox, receiver: Any
) -> None:
    class FlappingResolver:
        """A fake for fault injection: fails twice, then answers."""

        asked = 0

        async def __call__(self, host: str, port: int) -> Sequence[str]:
            self.asked += 1
            if self.asked <= 2:
                raise OSError("no answer")
            return await resolve("127.0.0.1", port)

    url = receiver.url.replace("127.0.0.1", "hook.example")
    await (await task(config(url))).emit()
    async with sending(outbox, guard=UrlGuard(LOOPBACK, resolver=FlappingResolver())):
        await until(lambda: receiver.requests)


async def test_an_answer_with_a_long_or_packed_body_counts_by_its_status(
    task: Any, outbox: Outbox, receiver: Any
) -> None:
    receiver.answers = lambda _: (0.0, 200, "Content-Encoding: gzip\r\n")
    await (await task(config(receiver.url))).emit(2)
    async with sending(outbox):
        await until_async(lambda: _empty(outbox))
    assert receiver.generations == [1, 2]


async def test_an_answer_that_is_no_http_is_a_failure_like_others(task: Any, outbox: Outbox) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 2\xff00 \x00\r\nContent-Length: -3\r\nA: \xff\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        pushed = await task(config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        await pushed.emit()
        async with sending(outbox):
            await until_async(lambda: outbox.failures(pushed.id))
    assert "RemoteProtocolError" in (await outbox.failures(pushed.id))[0].reason


async def test_a_deleted_configuration_gets_nothing_more(task: Any, outbox: Outbox, receiver: Any) -> None:
    receiver.answers = lambda _: (0.0, 503, "")
    pushed = await task(config(receiver.url))
    await pushed.emit(5)
    async with sending(outbox):
        await until(lambda: receiver.requests)
        await outbox.delete("alice", pushed.id, "c")
        await asyncio.sleep(0.1)
        seen = len(receiver.requests)
        await asyncio.sleep(0.5)
        assert len(receiver.requests) == seen
    assert await _empty(outbox)


async def test_nothing_secret_is_logged(
    task: Any, outbox: Outbox, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "parley_runtime")
    caplog.set_level(logging.DEBUG, "parley_core")
    receiver.answers = lambda _: (0.0, 403, "")
    secret = pb.AuthenticationInfo(scheme="Bearer", credentials="hidden-credentials")
    url = receiver.url + "?key=hidden-key"
    pushed = await task(config(url, token="hidden-token", authentication=secret))
    await pushed.emit()
    async with sending(outbox):
        await until_async(lambda: _empty(outbox))
    assert caplog.text
    assert "hidden" not in caplog.text
    assert "hidden" not in repr(await outbox.failures(pushed.id))


async def test_a_sender_that_is_stopped_puts_back_what_was_under_way(
    task: Any, outbox: Outbox, receiver: Any
) -> None:
    receiver.answers = lambda n: (30.0 if n == 1 else 0.0, 200, "")
    await (await task(config(receiver.url))).emit(2)
    long_lease = PushPolicy(lease=600.0, poll=0.02)
    async with sending(outbox, long_lease):
        await until(lambda: receiver.requests)
    async with sending(outbox, long_lease):
        await until(lambda: len(receiver.requests) == 3)
    assert receiver.generations == [1, 1, 2]


CHILD = """
import asyncio, sys
from ipaddress import ip_network
from backends import opened_on
from parley_core.urlguard import UrlGuard
from parley_runtime.push.policy import PushPolicy
from parley_runtime.push.sender import Sender

async def main():
    async with opened_on(sys.argv[1]) as own:
        policy = PushPolicy(attempt=1.0, lease=1.5, poll=0.02)
        await Sender(own.outbox, UrlGuard([ip_network("127.0.0.0/8")]), "child", policy).run()

asyncio.run(main())
"""


async def test_a_sender_killed_between_lease_and_settling_loses_nothing_and_keeps_the_order(
    task: Any, outbox: Outbox, receiver: Any, address: str
) -> None:
    receiver.answers = lambda n: (60.0 if n == 3 else 0.0, 200, "")
    pushed = await task(config(receiver.url))
    await pushed.emit(6)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, address, env=env)
    try:
        await until(lambda: len(receiver.requests) == 3)
    finally:
        child.kill()
        await child.wait()
    async with sending(outbox):
        await until_async(lambda: _empty(outbox))
    assert receiver.generations == [1, 2, 3, 3, 4, 5, 6]


async def test_senders_of_several_processes_send_each_notification_once(
    task: Any, outbox: Outbox, opened: Any, receiver: Any
) -> None:
    pushed = [await task(config(receiver.url)) for _ in range(10)]
    async with opened() as other, sending(outbox), sending(outbox), sending(other.outbox):
        for one in pushed:
            await one.emit(10)
        await until_async(lambda: _empty(outbox))
    keys = [headers["idempotency-key"] for headers, _ in receiver.requests]
    assert len(keys) == len(set(keys)) == 100


@pytest.mark.parametrize("address", ["postgres"], indirect=True)
async def test_what_one_process_has_no_room_for_another_sends_at_once(
    task: Any, outbox: Outbox, opened: Any, receiver: Any, other_receiver: Any
) -> None:
    other_receiver.answers = lambda _: (4.0, 200, "")
    seldom = {"poll": 30.0, "attempt": 8.0, "lease": 10.0}
    full = PushPolicy(at_once=1, at_once_unproven=1, at_once_slow=1, **seldom)
    async with opened() as other, sending(outbox, full) as sender:
        await (await task(config(other_receiver.url))).emit()
        sender.wake()
        await until(lambda: other_receiver.requests)
        async with sending(other.outbox, PushPolicy(**seldom)):
            await asyncio.sleep(0.5)
            live = await task(config(receiver.url))
            started = time.monotonic()
            await live.emit()
            sender.wake()
            await until(lambda: receiver.requests)
            assert time.monotonic() - started < 15.0
    assert len(other_receiver.requests) == 1


@pytest.mark.parametrize("mode", ["immediate", "fast"])
async def test_a_database_that_ends_and_comes_back_delays_and_loses_nothing(
    own_postgres: Any, tasks_of: Any, receiver: Any, mode: str
) -> None:
    server = await asyncio.to_thread(own_postgres)
    async with opened_on(server.dsn) as own:
        make = tasks_of(own.store, own.outbox)
        pushed = [await make(config(receiver.url)) for _ in range(5)]
        receiver.answers = lambda _: (0.02, 200, "")
        async with sending(own.outbox, PushPolicy(attempt=2.0, lease=3.0, first_pause=0.05, poll=0.05)):
            for one in pushed:
                await one.emit(20)
            await until(lambda: len(receiver.requests) > 20)
            await asyncio.to_thread(server.restart, mode)
            for one in pushed:
                await one.emit(5)
            await until_async(lambda: _empty(own.outbox))
    seen: dict[str, list[int]] = {}
    for headers, _ in receiver.requests:
        name, _, number = headers["idempotency-key"].partition("/")
        seen.setdefault(name, []).append(int(number))
    for numbers in seen.values():
        assert list(dict.fromkeys(numbers)) == list(range(1, 26))
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("address", ["postgres"], indirect=True)
async def test_clocks_that_differ_do_no_harm(
    task: Any, outbox: Outbox, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = await task(config(receiver.url))
    await pushed.emit(3)
    clock = time.time
    receiver.answers = lambda n: (0.0, 503 if n == 1 else 200, "")
    monkeypatch.setattr("time.time", lambda: clock() + 7 * 86400)
    async with sending(outbox):
        await until(lambda: len(receiver.requests) == 4)
        await until_async(lambda: _empty(outbox))
    assert receiver.generations == [1, 1, 2, 3]
    assert not await outbox.failures(pushed.id)
