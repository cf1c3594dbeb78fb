"""What is on its way out keeps its order; what came in is kept, extended, let go or given back."""

import asyncio
from collections.abc import Sequence

from parley_runtime.bus import Wake
from parley_runtime.buses.lanes import Item, Lanes, joined
from parley_runtime.queues.tokens import Tokens
from parley_runtime.rocketmq.messages import Received
from parley_runtime.store import LoggedEvent, Work


def said(task: str, *generations: int) -> Item:
    return task, Wake([LoggedEvent(n, b"{}", 2, 0.0, 1) for n in generations])


async def test_a_session_waits_for_its_own_message_and_for_no_other() -> None:
    sent: list[tuple[str, list[str]]] = []
    slow = asyncio.Event()

    async def send(context: str, items: Sequence[Item]) -> None:
        sent.append((context, [task for task, _ in items]))
        if context == "slow":
            await slow.wait()

    lanes = Lanes(send)
    runs = [asyncio.create_task(lanes.run()) for _ in range(3)]
    lanes.offer("slow", said("a", 1))
    lanes.offer("quick", said("x", 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lanes.offer("slow", said("b", 1))
    lanes.offer("slow", said("c", 1))
    lanes.offer("quick", said("y", 1))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [context for context, _ in sent].count("slow") == 1
    assert [tasks for context, tasks in sent if context == "quick"][-1][-1] == "y"
    assert sorted(task for _, items in lanes.take_back() for task, _ in items) == ["a", "b", "c"]
    lanes.offer("slow", said("d", 1))
    slow.set()
    await asyncio.wait_for(lanes.emptied(), 60)
    assert sent[-1] == ("slow", ["d"]), "what was taken back is not sent again"
    for run in runs:
        run.cancel()


async def test_what_one_task_says_in_a_row_goes_together_and_a_mere_wake_apart() -> None:
    items = [said("a", 1), said("a", 2, 3), ("a", Wake()), said("b", 1), said("a", 4)]
    made = [(task, [e.generation for e in wake.events]) for task, wake in joined(items)]
    assert made == [("a", [1, 2, 3]), ("a", []), ("b", [1]), ("a", [4])]


def message(n: int) -> Received:
    return Received("t", f"m{n}", b"", "", n, 1, {}, f"h{n}", 3)


def work(task: str) -> Work:
    return Work(task, "c", "o", 1, "message", "1", b"", "", 1, 1, 0.0)


def test_a_token_is_acknowledged_when_its_execution_is_over() -> None:
    tokens = Tokens()
    tokens.came([message(1), message(2)])
    tokens.bind(work("a"))
    assert (tokens.loose, tokens.take_done()) == (1, [])
    tokens.release(work("a"))
    assert [t.message.id for t in tokens.take_done()] == ["m1"]
    tokens.spent()
    assert [t.message.id for t in tokens.take_done()] == ["m2"]
    tokens.release(work("never begun with one"))
    assert tokens.take_done() == []


def test_a_token_that_ends_while_it_is_extended_is_acknowledged_under_its_new_handle() -> None:
    tokens = Tokens()
    tokens.came([message(1)])
    tokens.bind(work("a"))
    [token], _ = tokens.due(0.0)
    token.extending = True
    tokens.release(work("a"))
    assert tokens.take_done() == []
    token.message.handle = "new"
    tokens.extended(token)
    assert [t.message.handle for t in tokens.take_done()] == ["new"]


def test_tokens_that_nobody_comes_for_go_back_and_bound_ones_are_extended() -> None:
    tokens = Tokens()
    tokens.came([message(1), message(2)])
    tokens.bind(work("a"))
    assert tokens.due(60.0) == ([], [])
    extend, back = tokens.due(0.0)
    assert ([t.message.id for t in extend], [t.message.id for t in back]) == (["m1"], ["m2"])
    assert tokens.loose == 0
