"""How a session's events travel in a RocketMQ message; a public format, described in docs/rocketmq.md.

Lines of UTF-8, each ended by a newline: first a JSON object that says what follows, then for each event the body of its
StreamResponse, byte for byte as in the task's log.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson
from a2a.types import a2a_pb2 as pb
from google.protobuf.message import DecodeError

from parley_runtime.bus import Wake
from parley_runtime.store import ERROR, MESSAGE, LoggedEvent

LARGEST = 256 * 1024
"""Bytes of one message; an event that does not fit is only said to be there."""

_NAMES = {number: name for name, number in pb.TaskState.items()} | {MESSAGE: "MESSAGE", ERROR: "ERROR"}
_STATES = {name: number for number, name in _NAMES.items()}


@dataclass(frozen=True, slots=True)
class SessionMessage:
    """Consecutive events of one task; none: something has changed that this message does not carry."""

    sender: str
    task_id: str
    wake: Wake


def encode(agent: str, sender: str, task_id: str, context_id: str, wake: Wake) -> Iterator[bytes]:
    """The messages that carry a wake-up, in order; one without events when it has none. The Task goes with the last of
    them, if it fits."""

    def message(part: Sequence[LoggedEvent], generation: int, task: pb.Task | None = None) -> bytes:
        return _message(agent, sender, task_id, context_id, part, generation, task)

    part: list[LoggedEvent] = []
    size = 0
    for event in wake.events:
        if part and size + len(event.body) > LARGEST:
            yield message(part, part[-1].generation)
            part, size = [], 0
        if len(event.body) > LARGEST:
            yield message([], event.generation)
            continue
        part.append(event)
        size += len(event.body)
    if part:
        fits = wake.task is not None and size + 2 * wake.task.ByteSize() <= LARGEST
        yield message(part, part[-1].generation, wake.task if fits else None)
    elif not wake.events:
        yield message([], 0)


def decode(body: bytes) -> SessionMessage:
    """What `encode` made. Raises ValueError for anything else."""
    head, *lines = body.split(b"\n")
    try:
        said = orjson.loads(head)
        events = [
            LoggedEvent(e["generation"], line, _STATES[e["state"]], e["at"], e["work"])
            for e, line in zip(said["events"], lines[: len(said["events"])], strict=True)
        ]
        task = pb.Task.FromString(b64decode(said["task"])) if "task" in said else None
        return SessionMessage(said["sender"], said["taskId"], Wake(events, task))
    except (KeyError, TypeError, DecodeError) as error:
        raise ValueError(f"not a message of a session: {error!r}") from error


def _message(
    agent: str,
    sender: str,
    task_id: str,
    context_id: str,
    events: Sequence[LoggedEvent],
    generation: int,
    task: pb.Task | None,
) -> bytes:
    head = {
        "format": 1,
        "agent": agent,
        "sender": sender,
        "taskId": task_id,
        "contextId": context_id,
        "generation": generation,
        "events": [
            {"generation": e.generation, "state": _NAMES[e.state], "at": e.at, "work": e.work} for e in events
        ],
    }
    if task is not None:
        head["task"] = b64encode(task.SerializeToString()).decode()
    return b"\n".join([orjson.dumps(head), *(event.body for event in events), b""])
