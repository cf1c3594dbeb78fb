"""What every outbox promises (see `parley_runtime.push.outbox`), on each backend."""

import asyncio
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from a2a.types import a2a_pb2 as pb
from backends import opened_on
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_runtime.push.outbox import Delivery, Outbox
from parley_runtime.push.sqlite import SqlOutbox
from parley_runtime.store import Append, NewEvent, NewMessage, Store, UnknownTask


class Open:
    """A gate that lets everything through but what goes to `closed`."""

    def __init__(self, closed: str = "", until: float = math.inf) -> None:
        self.closed, self.until = closed, until
        self.inside: dict[str, int] = defaultdict(int)

    def enter(self, url: str) -> float:
        if self.closed and self.closed in url:
            return self.until
        self.inside[url] += 1
        return 0.0

    def leave(self, url: str) -> None:
        self.inside[url] -= 1


def config(config_id: str = "c", url: str = "https://a.example/") -> pb.TaskPushNotificationConfig:
    return pb.TaskPushNotificationConfig(id=config_id, url=url, token="t")


async def lease(outbox: Outbox, limit: int = 10, sender: str = "s", seconds: float = 30.0) -> list[Delivery]:
    return list(await outbox.lease(sender, limit, seconds, Open()))


def marks(deliveries: list[Delivery]) -> list[tuple[str, str, int]]:
    return [(d.task_id, d.config_id, d.generation) for d in deliveries]


async def test_every_event_is_written_for_every_configuration(task: Any, outbox: Outbox) -> None:
    pushed = await task(config("c1"), config("c2", "https://b.example/"))
    await pushed.emit(3)
    assert (await outbox.state()).pending == 6
    found = await lease(outbox)
    assert sorted(marks(found)) == [("task-1", "c1", 1), ("task-1", "c2", 1)]
    assert found[0].body.startswith(b'{"statusUpdate"')
    assert found[0].traceparent.startswith("00-aaaa")
    assert found[0].attempts == 1


async def test_a_later_one_never_goes_before_an_earlier(task: Any, outbox: Outbox) -> None:
    pushed = await task(config())
    await pushed.emit(3)
    first = (await lease(outbox))[0]
    assert await lease(outbox, sender="another") == []
    await outbox.retry(first, "s", 60, "busy")
    assert await lease(outbox) == []
    await outbox.retry(first, "s", 0.0, "not mine any more")
    assert await lease(outbox) == []


async def test_after_a_delivery_the_next_is_due_or_leased_at_once(task: Any, outbox: Outbox) -> None:
    pushed = await task(config())
    await pushed.emit(3)
    first = (await lease(outbox))[0]
    assert await lease(outbox) == []
    second = await outbox.delivered(first, "s", then=30.0)
    assert second is not None
    assert second.generation == 2
    assert await lease(outbox) == []
    assert await outbox.delivered(second, "s") is None
    third = (await lease(outbox))[0]
    assert third.generation == 3
    assert await outbox.delivered(third, "s", then=30.0) is None
    assert (await outbox.state()).pending == 0


async def test_a_lease_that_runs_out_is_given_to_another_and_its_holder_has_no_say(
    task: Any, outbox: Outbox
) -> None:
    pushed = await task(config())
    await pushed.emit(2)
    lost = (await lease(outbox, seconds=0.05))[0]
    await asyncio.sleep(0.06)
    again = (await lease(outbox, sender="another"))[0]
    assert (again.generation, again.attempts) == (1, 2)
    assert await outbox.delivered(lost, "s", then=30.0) is None
    await outbox.give_up(lost, "s", "no")
    await outbox.retry(lost, "s", 0.0, "no")
    await outbox.release(lost, "s")
    await outbox.stop(lost, "s", "no")
    assert (await outbox.state()).pending == 2
    assert await lease(outbox) == []


async def test_what_is_released_is_due_as_if_never_leased(task: Any, outbox: Outbox) -> None:
    await (await task(config())).emit()
    first = (await lease(outbox))[0]
    await outbox.release(first, "s")
    assert (await lease(outbox))[0].attempts == 1


async def test_a_retry_waits_for_its_time_and_keeps_its_reason(task: Any, outbox: Outbox) -> None:
    await (await task(config())).emit()
    first = (await lease(outbox))[0]
    await outbox.retry(first, "s", 0.05, "the receiver answered 503")
    assert await lease(outbox) == []
    failure = (await outbox.failures("task-1"))[0]
    assert (failure.generation, failure.attempts, failure.reason, failure.given_up) == (
        1, 1, "the receiver answered 503", False,
    )  # fmt: skip
    await asyncio.sleep(0.06)
    assert (await lease(outbox))[0].attempts == 2


async def test_what_is_given_up_lets_the_next_go_and_can_be_read(task: Any, outbox: Outbox) -> None:
    await (await task(config())).emit(2)
    first = (await lease(outbox))[0]
    await outbox.give_up(first, "s", "refused")
    assert (await lease(outbox))[0].generation == 2
    assert [(f.generation, f.reason, f.given_up) for f in await outbox.failures("task-1")] == [
        (1, "refused", True)
    ]
    assert (await outbox.state()).given_up == 1


async def test_all_that_is_too_old_is_given_up_together(task: Any, outbox: Outbox) -> None:
    pushed = await task(config())
    await pushed.emit(3)
    await asyncio.sleep(0.5)
    await pushed.emit()
    first = (await lease(outbox))[0]
    assert first.age >= 0.5
    await outbox.give_up(first, "s", "too old", older=0.3)
    assert [f.generation for f in await outbox.failures("task-1")] == [1, 2, 3]
    assert (await lease(outbox))[0].generation == 4


async def test_failures_are_forgotten_in_the_end(task: Any, outbox: Outbox) -> None:
    await (await task(config())).emit(2)
    await outbox.give_up((await lease(outbox))[0], "s", "refused")
    assert await outbox.forget(60) == 0
    assert await outbox.forget(-60) == 1
    assert await outbox.failures("task-1") == []
    assert (await outbox.state()).pending == 1


async def test_a_stopped_configuration_is_still_shown_but_gets_nothing_until_set_again(
    task: Any, outbox: Outbox
) -> None:
    pushed = await task(config("gone"), config("other"))
    await pushed.emit(3)
    gone = next(d for d in await lease(outbox) if d.config_id == "gone")
    await outbox.stop(gone, "s", "410")
    await pushed.emit()
    assert await lease(outbox) == []
    assert (await outbox.state()).pending == 4
    assert {(f.config_id, f.given_up) for f in await outbox.failures(pushed.id)} == {("gone", True)}
    shown = await outbox.get("alice", pushed.id, "gone")
    assert shown is not None
    assert shown.url == "https://a.example/"
    await outbox.set("alice", shown, 20)
    await pushed.emit()
    assert marks(await lease(outbox)) == [(pushed.id, "gone", 5)]


async def test_deleting_a_configuration_drops_what_is_pending_and_can_be_repeated(
    task: Any, outbox: Outbox
) -> None:
    pushed = await task(config("c1"), config("c2"))
    await pushed.emit(2)
    held = next(d for d in await lease(outbox) if d.config_id == "c1")
    for _ in range(2):
        await outbox.delete("alice", pushed.id, "c1")
    assert await outbox.delivered(held, "s", then=30.0) is None
    await pushed.emit()
    assert (await outbox.state()).pending == 3
    assert await outbox.get("alice", pushed.id, "c1") is None


async def test_configurations_belong_to_their_owner(task: Any, outbox: Outbox) -> None:
    pushed = await task(config("c1"), config("c2"))
    assert [c.id for c in await outbox.list("alice", pushed.id)] == ["c1", "c2"]
    assert await outbox.list("mallory", pushed.id) == []
    assert await outbox.get("mallory", pushed.id, "c1") is None
    await outbox.delete("mallory", pushed.id, "c1")
    assert await outbox.get("alice", pushed.id, "c1") is not None
    with pytest.raises(UnknownTask):
        await outbox.set("mallory", pb.TaskPushNotificationConfig(id="x", task_id=pushed.id), 20)
    with pytest.raises(UnknownTask):
        await outbox.set("alice", pb.TaskPushNotificationConfig(id="x", task_id="none"), 20)


async def test_a_configuration_is_replaced_by_its_id_and_their_number_is_bounded(
    task: Any, outbox: Outbox
) -> None:
    pushed = await task(config("c1"), config("c2"))
    third = config("c3")
    third.task_id = pushed.id
    assert await outbox.set("alice", third, 2) is False
    changed = config("c1", "https://new.example/")
    changed.task_id = pushed.id
    assert await outbox.set("alice", changed, 2) is True
    assert [c.url for c in await outbox.list("alice", pushed.id)] == [
        "https://new.example/",
        "https://a.example/",
    ]


async def test_pending_notifications_go_to_the_url_that_is_set_now(task: Any, outbox: Outbox) -> None:
    pushed = await task(config())
    await pushed.emit()
    changed = config("c", "https://new.example/")
    changed.task_id = pushed.id
    await outbox.set("alice", changed, 20)
    assert (await lease(outbox))[0].config.url == "https://new.example/"


async def test_secrets_are_in_no_representation(task: Any, outbox: Outbox) -> None:
    secret = pb.TaskPushNotificationConfig(id="c", url="https://a.example/?k=hidden", token="hidden")
    secret.authentication.scheme, secret.authentication.credentials = "Bearer", "hidden"
    await (await task(secret)).emit()
    assert "hidden" not in repr(await lease(outbox))


@pytest.mark.parametrize("until", [math.inf, 600], ids=["closed", "resting"])
async def test_many_for_a_closed_receiver_hide_nobody_elses(task: Any, outbox: Outbox, until: float) -> None:
    for _ in range(3):
        await (await task(config(url="https://dead.example/"))).emit(400)
    for _ in range(600):
        await (await task(config(url="https://dead.example/"))).emit()
    live = await task(config(url="https://live.example/"))
    await live.emit()
    gate = Open("dead", until)
    found: list[Delivery] = []
    started = time.monotonic()
    for _ in range(3):
        found += await outbox.lease("s", 8, 30.0, gate)
    assert [d.task_id for d in found] == [live.id]
    assert time.monotonic() - started < 30.0


class Interrupted:
    """A fake for fault injection: something else happens between this store's reading and its writing."""

    def __init__(self, store: Any, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self.store, self.meanwhile = store, meanwhile
        self.read = store.read

    async def write(self, work: Any) -> Any:
        await self.meanwhile()
        return await self.store.write(work)


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
async def test_a_notification_whose_turn_comes_while_another_looks_is_not_put_aside(
    task: Any, store: Any, outbox: Outbox
) -> None:
    pushed = await task(config())
    await pushed.emit()
    first = (await lease(outbox))[0]
    await pushed.emit()
    late = SqlOutbox(Interrupted(store, lambda: outbox.delivered(first, "s")))
    assert await lease(late, sender="late") == []
    assert [d.generation for d in await lease(outbox)] == [2]


@pytest.mark.parametrize("address", ["postgres"], indirect=True)
async def test_nothing_is_put_aside_behind_what_is_being_settled(
    task: Any, store: Any, outbox: Outbox
) -> None:
    pushed = await task(config())
    await pushed.emit()
    [first] = await lease(outbox)
    async with store.pool.session() as settling:
        settled = settling.transaction()  # as a sender's whose commit takes its time
        await settled.start()
        await settling.execute("DELETE FROM outbox WHERE id = $1", first.id)
        await pushed.emit(2)
        assert await lease(outbox, sender="late") == []
        await settled.commit()
    assert [d.generation for d in await lease(outbox)] == [2]


async def test_places_of_notifications_that_another_sender_got_are_given_back(task: Any, opened: Any) -> None:
    for _ in range(20):
        await (await task(config())).emit()
    gates = [Open(), Open(), Open()]
    async with opened() as a, opened() as b, opened() as c:
        got = await asyncio.gather(
            *(
                one.outbox.lease(f"s{n}", 20, 30.0, gate)
                for n, (one, gate) in enumerate(zip((a, b, c), gates, strict=True))
            )
        )
    taken = [d.id for found in got for d in found]
    assert len(taken) == len(set(taken)) == 20
    for gate, found in zip(gates, got, strict=True):
        assert gate.inside["https://a.example/"] == len(found)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["emit", "lease", "delivered", "chain", "retry", "give_up", "release", "expire"]),
              st.integers(0, 3)),
    max_size=40,
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_whatever_happens_order_is_kept_and_nothing_is_lost(
    actions: list[tuple[str, int]], address: str
) -> None:
    asyncio.run(_play(actions, address))


async def _play(actions: list[tuple[str, int]], address: str) -> None:
    async with opened_on(address) as own:
        await _play_on(actions, own.store, own.outbox)


async def _play_on(actions: list[tuple[str, int]], store: Store, outbox: Outbox) -> None:
    run = uuid.uuid4().hex
    epochs, emitted, done = {}, defaultdict(int), defaultdict(list)
    for n in range(2):
        made = await store.accept(
            NewMessage("o", f"{run}{n}", b"d", f"{run}t{n}", False, "", f"c{n}", "1", b"r", ""), take_as="w"
        )
        assert made.work is not None
        epochs[f"{run}t{n}"] = made.work
        for name in ("a", "b"):
            config = pb.TaskPushNotificationConfig(id=name, task_id=f"{run}t{n}", url="https://a.example/")
            await outbox.set("o", config, 9)
    held: list[Delivery] = []

    async def emit(which: int) -> None:
        name = f"{run}t{which % 2}"
        emitted[name] += 1
        work = epochs[name]
        await store.append(Append(name, work.epoch, work.number, emitted[name], [NewEvent(b"{}", 2)]))

    for action, which in actions:
        if action == "emit":
            await emit(which)
        elif action in ("lease", "expire"):
            seconds = 0.0 if action == "expire" else 30.0
            got = await outbox.lease("s", 2, seconds, Open())
            held += got if action == "lease" else []
        elif held:
            one = held.pop(which % len(held))
            lane = (one.task_id, one.config_id)
            if action in ("delivered", "chain"):
                following = await outbox.delivered(one, "s", then=30.0 if action == "chain" else 0.0)
                done[lane].append(one.generation)
                held += [following] if following else []
            elif action == "retry":
                await outbox.retry(one, "s", 0.0, "x")
            elif action == "release":
                await outbox.release(one, "s")
            else:
                await outbox.give_up(one, "s", "x")
                done[lane].append(one.generation)
    for one in held:
        await outbox.release(one, "s")
    while found := await outbox.lease("s", 4, 30.0, Open()):
        for one in found:
            done[(one.task_id, one.config_id)].append(one.generation)
            await outbox.delivered(one, "s")
    for (name, _), generations in done.items():
        assert generations == list(range(1, emitted[name] + 1))
    assert (await outbox.state()).pending == 0
