"""What must be true of a cluster after it has come to rest, whatever was done to it: docs/guarantees.md as a function.

Compares what clients saw (`Seen`), what executors did outside (effects), what a webhook received, and what the store
holds. Each violation is (task, what is wrong).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict

from campaign.seen import ENDED, Read, Seen
from parley_runtime.store import ENDED as ENDED_STATES
from parley_runtime.store import TaskTrace
from parley_runtime.task import apply, fold

Violation = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds at the end."""

    traces: Mapping[str, TaskTrace]
    """Every task with its log."""
    messages: Mapping[str, str]
    """The task of each messageId."""
    left: Mapping[str, int]
    """Rows that should not be there any more, by what they are."""


def check(
    seen: Seen, stored: Stored, effects: Sequence[str], arrived: Mapping[str, Sequence[int]]
) -> list[Violation]:
    """All violations, in no certain order."""
    found = list(seen.wrong)
    found += _messages(seen, stored)
    for task, trace in stored.traces.items():
        found += [(task, what) for what in _log(task, trace, seen)]
        found += [(task, what) for what in _fenced(trace)]
    found += _results(seen, stored)
    for read in seen.streams:
        found += [(read.task, f"{read.who}'s stream: {what}") for what in _stream(read, stored)]
    found += _reads(seen)
    found += _steps(stored, effects)
    found += _pushes(seen, stored, arrived)
    found += [
        ("", f"left in the store at the end: {count} {what}") for what, count in stored.left.items() if count
    ]
    return found


def _messages(seen: Seen, stored: Stored) -> Iterator[Violation]:
    """A message is one task, and what was accepted is kept."""
    for message, tasks in seen.tasks.items():
        if len(tasks) > 1:
            yield "", f"message {message} was answered by several tasks: {sorted(tasks)}"
        for task in tasks:
            if task not in stored.traces:
                yield task, f"accepted (message {message}), and not in the store"
            elif stored.messages.get(message) != task:
                yield task, f"message {message} belongs to {stored.messages.get(message)} in the store"
    unknown = set(stored.traces) - set(stored.messages.values())
    for task in unknown:
        yield task, "a task without a message"
    for message in set(stored.messages) - set(seen.sent):
        yield stored.messages[message], f"message {message}, which nobody sent"


def _log(task: str, trace: TaskTrace, seen: Seen) -> Iterator[str]:
    """The log is 1, 2, 3 …; it ends exactly once; the task is its fold, and is what was ordered."""
    numbers = [event.generation for event in trace.events]
    if numbers != list(range(1, trace.task.generation + 1)):
        yield f"the log has a gap or a repeat: {numbers}, and the task is at {trace.task.generation}"
    ends = [event.generation for event in trace.events if event.state in ENDED_STATES]
    if not ends:
        yield f"it never ended: state {trace.task.state}, busy {trace.task.busy}, work {trace.work}"
        return
    if ends != [numbers[-1]]:
        yield f"it ended {len(ends)} times or went on after its end: {ends} of {numbers[-1]}"
    if trace.task.busy:
        yield "it has ended, and work on it is left"
    task_now = fold(trace.task)
    if task_now is None:
        return  # answered by a plain Message
    if _folded(trace) != _shown(MessageToDict(task_now)):
        yield f"the log amounts to {_folded(trace)}, and the task is {MessageToDict(task_now)}"
    order, state = seen.orders.get(task, ""), MessageToDict(task_now)["status"]["state"]
    allowed = {"TASK_STATE_COMPLETED"} | ({"TASK_STATE_CANCELED"} if task in seen.cancelled else set())
    if state not in allowed:
        yield f"it ended as {state}: {MessageToDict(task_now)['status']}"
    if order.startswith("count") and state == "TASK_STATE_COMPLETED":
        said = [orjson.loads(part.text)[0] for part in task_now.artifacts[0].parts]
        if said != list(range(int(order.split()[1]))):
            yield f"{order!r} made {said}"
    if order.startswith("steps") and len(task_now.artifacts) != int(order.split()[1]):
        yield f"{order!r} made {len(task_now.artifacts)} artifacts"


def _fenced(trace: TaskTrace) -> Iterator[str]:
    """What a lease wrote comes before all that a later lease wrote, and one lease is one execution."""
    last, executions = 0, dict[int, str]()
    for event in trace.events:
        artifact = orjson.loads(event.body).get("artifactUpdate", {}).get("artifact", {})
        if not artifact or artifact["artifactId"].startswith("step-"):
            continue  # a kept step bears the signature of whoever ran it
        for part in artifact["parts"]:
            _, epoch, execution = orjson.loads(part["text"])
            if epoch < last:
                yield f"event {event.generation} was written under epoch {epoch}, after one of epoch {last}"
            if executions.setdefault(epoch, execution) != execution:
                yield f"two executions under epoch {epoch}: {execution} and {executions[epoch]}"
            last = max(last, epoch)


def _results(seen: Seen, stored: Stored) -> Iterator[Violation]:
    """Every answer that said how a task ended said the same, and what the log says."""
    for task, answers in seen.results.items():
        if task not in stored.traces:
            continue
        expected = MessageToDict(fold(stored.traces[task].task))
        for answer in answers:
            if answer != expected:
                yield task, f"a client was told {answer}, and the log amounts to {expected}"


def _stream(read: Read, stored: Stored) -> Iterator[str]:
    """A stream, put together over all its connections, is the log from where it began."""
    if read.task not in stored.traces:
        if read.events or read.head:
            yield "of a task that is not in the store"
        return
    numbers = [number for number, _ in read.events]
    if numbers != list(range(read.head + 1, read.head + len(numbers) + 1)):
        yield f"gap, repeat or reordering: {numbers} after {read.head}"
        return
    log = {event.generation: event for event in stored.traces[read.task].events}
    for number, event in read.events:
        if number not in log:
            yield f"event {number} is not in the log: {event}"
        elif orjson.loads(log[number].body) != event:
            yield f"event {number} is {event}, and in the log {log[number].body!r}"
    last = max(log, default=0)
    if read.state in ENDED and (numbers or [read.head])[-1] != last:
        yield f"it ended with {numbers[-1:]}, and the log with {last}"


def _reads(seen: Seen) -> Iterator[Violation]:
    """What a client has seen is durable: whoever asks later sees no earlier state of the task."""
    by_task = defaultdict(list)
    for look in seen.looks:
        by_task[look.task].append(look)
    for task, looks in by_task.items():
        known = sorted(looks, key=lambda look: look.answered)
        best, n = 0, 0
        for asked in sorted((look for look in looks if look.asked), key=lambda look: look.asked):
            while n < len(known) and known[n].answered < asked.asked:
                best, n = max(best, known[n].generation), n + 1
            if asked.generation < best:
                yield task, f"seen at {best}, then at {asked.generation} ({asked.asked:.3f} s)"


def _steps(stored: Stored, effects: Sequence[str]) -> Iterator[Violation]:
    """Once a step's result was kept, no later lease runs it again."""
    done = defaultdict(list)
    for line in effects:
        task, step, epoch, execution = orjson.loads(line)
        done[task, f"step-{step}"].append((epoch, execution))
    for task, trace in stored.traces.items():
        for kept in trace.steps:
            _, epoch, execution = orjson.loads(orjson.loads(kept.result[1:]))
            runs = done[task, kept.name]
            if (epoch, execution) not in runs:
                yield task, f"{kept.name} was kept from {execution}, which did not run it"
            if any(later > epoch for later, _ in runs):
                yield task, f"{kept.name} was kept under epoch {epoch} and run again: {runs}"


def _pushes(seen: Seen, stored: Stored, arrived: Mapping[str, Sequence[int]]) -> Iterator[Violation]:
    """Each event of a task with a webhook arrived at least once, for the first time in order."""
    for task in seen.pushed:
        if task not in stored.traces:
            continue
        first = list(dict.fromkeys(arrived.get(task, ())))
        expected = list(range(1, stored.traces[task].task.generation + 1))
        if first != expected:
            yield task, f"pushes arrived as {first}, and the log has {len(expected)} events"


def _folded(trace: TaskTrace) -> dict[str, Any]:
    """Status and artifacts that the whole log amounts to, from its first event (the user's messages are kept apart)."""
    task = None
    for event in trace.events:
        task = apply(task, event.body, b"")
    assert task is not None
    return _shown(MessageToDict(task))


def _shown(task: dict[str, Any]) -> dict[str, Any]:
    return {name: task.get(name) for name in ("id", "contextId", "status", "artifacts")}
