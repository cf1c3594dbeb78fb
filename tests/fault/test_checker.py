"""The campaign's checker sees what it is there to see: each test breaks one promise in an otherwise sound history."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from campaign.checker import Stored, check
from campaign.seen import Look, Read, Seen

from parley_runtime.store import LoggedEvent, StepRecord, StoredTask, TaskTrace

TASK, WORKING, COMPLETED = "t", 2, 3


def artifact(n: int, epoch: int) -> dict[str, Any]:
    part = {"text": orjson.dumps([n, epoch, f"x{epoch}"]).decode()}
    return {
        "artifactUpdate": {
            "taskId": TASK,
            "contextId": "c",
            "artifact": {"artifactId": "chunks", "parts": [part]},
            "append": n > 0,
        }
    }


def bodies(epochs: tuple[int, int] = (1, 2)) -> list[dict[str, Any]]:
    begun = {"task": {"id": TASK, "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}}
    over = {"statusUpdate": {"taskId": TASK, "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}}
    return [begun, artifact(0, epochs[0]), artifact(1, epochs[1]), over]


def stored(events: list[dict[str, Any]]) -> Stored:
    log = [
        LoggedEvent(n, orjson.dumps(body), COMPLETED if n == len(events) else WORKING, float(n), 1)
        for n, body in enumerate(events, 1)
    ]
    tail = [(event.body, b"") for event in log]
    task = StoredTask(TASK, "c", "local", COMPLETED, len(log), True, False, "1", b"", 0, tail)
    return Stored({TASK: TaskTrace(task, [], [], log)}, {"m": TASK}, {"work entries": 0})


def seen() -> Seen:
    found = Seen(sent={"m": "count 2 1"}, orders={TASK: "count 2 1"}, pushed={TASK})
    found.tasks["m"].add(TASK)
    found.streams.append(Read("client", TASK, list(enumerate(bodies(), 1)), "COMPLETED"))
    return found


def wrong(saw: Seen, holds: Stored, pushes: tuple[int, ...] = (1, 2, 3, 4)) -> str:
    return "; ".join(what for _, what in check(saw, holds, [], {TASK: pushes}))


def test_a_sound_history_is_sound() -> None:
    assert wrong(seen(), stored(bodies())) == ""
    assert wrong(seen(), stored(bodies()), (1, 2, 1, 2, 3, 4)) == ""


@pytest.mark.parametrize("numbers", [(1, 2, 4), (1, 2, 2, 3, 4), (1, 3, 2, 4)])
def test_a_stream_with_a_gap_a_repeat_or_another_order(numbers: tuple[int, ...]) -> None:
    saw = seen()
    saw.streams[0].events = [(n, bodies()[n - 1]) for n in numbers]
    assert "gap, repeat or reordering" in wrong(saw, stored(bodies()))


def test_a_stream_that_says_what_the_log_does_not() -> None:
    saw = seen()
    saw.streams[0].events[1] = (2, artifact(7, 1))
    assert "and in the log" in wrong(saw, stored(bodies()))


def test_a_fenced_writer_in_the_log() -> None:
    saw = seen()
    saw.streams.clear()
    assert "under epoch 1, after one of epoch 2" in wrong(saw, stored(bodies(epochs=(2, 1))))


@pytest.mark.parametrize("pushes", [(1, 2, 4), (1, 3, 2, 4), ()])
def test_a_push_that_is_missing_or_late(pushes: tuple[int, ...]) -> None:
    assert "pushes arrived" in wrong(seen(), stored(bodies()), pushes)


def test_a_task_that_was_lost_or_never_ended() -> None:
    assert "not in the store" in wrong(seen(), Stored({}, {}, {}))
    assert "it never ended" in wrong(seen(), Stored(
        {TASK: replace(stored(bodies()).traces[TASK], events=[replace(e, state=WORKING) for e in stored(bodies()).traces[TASK].events])},
        {"m": TASK}, {},
    ))  # fmt: skip


def test_a_message_that_became_two_tasks() -> None:
    saw = seen()
    saw.tasks["m"].add("other")
    assert "several tasks" in wrong(saw, stored(bodies()))


def test_a_later_look_that_sees_an_earlier_state() -> None:
    saw = seen()
    saw.looks += [Look(TASK, 4, 1.0, 2.0), Look(TASK, 3, 3.0, 4.0)]
    assert "seen at 4, then at 3" in wrong(saw, stored(bodies()))


def test_a_step_that_is_run_again_after_it_was_kept() -> None:
    kept = StepRecord("step-0", b"j" + orjson.dumps(orjson.dumps([0, 1, "x1"]).decode()), 1.0, 2.0)
    holds = stored(bodies())
    holds = replace(holds, traces={TASK: replace(holds.traces[TASK], steps=[kept])})
    effects = [orjson.dumps([TASK, 0, epoch, f"x{epoch}"]).decode() for epoch in (1, 2)]
    assert check(seen(), holds, effects[:1], {TASK: (1, 2, 3, 4)}) == []
    [(_, what)] = check(seen(), holds, effects, {TASK: (1, 2, 3, 4)})
    assert "run again" in what


def test_what_is_left_over() -> None:
    assert "left in the store" in wrong(seen(), replace(stored(bodies()), left={"pushes to send": 2}))
