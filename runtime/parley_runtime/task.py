"""The task as a fold of its events: pure functions from protocol objects to protocol objects.

An executor says what happened (Task, TaskStatusUpdateEvent, TaskArtifactUpdateEvent or Message); `TaskFold`
turns each into exactly one logged change with the next generation, and readers fold the log back into the
same Task. The rules of folding are the a2a-sdk's, so an executor sees no difference.
"""

import time

import orjson
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidAgentResponseError
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

from parley_runtime.store import MESSAGE, TERMINAL, NewEvent, StoredTask
from parley_runtime.wire import message_json, read_artifact_update, task_json, update_json

GENERATION = "parley.dev/generation"
"""Metadata key under which a task and its events carry their generation (A2A 1.1 makes it a field)."""
VERSION = "parley.dev/version"
"""Metadata key under which a task carries the version of the agent that ran it (last)."""

ExecutorEvent = pb.Task | pb.Message | pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent

_SNAPSHOT_BYTES = 4096
_MAX_DEPTH = 30


class TaskFold:
    """A task while it is being written: its current value, its generation, and what is due to be kept.

    `message` is the user's Message of this execution; it enters the history with the first change. `version` is the agent's
    that runs it; the Task, or the first status update after another one ran it, says so.
    """

    def __init__(
        self,
        task_id: str,
        context_id: str,
        task: pb.Task | None,
        generation: int,
        message: pb.Message | None,
        version: str = "",
    ) -> None:
        self.task_id = task_id
        self.context_id = context_id
        self.task = task
        self.generation = generation
        self.ended = False
        self._message = message
        self._version = version
        self._unsaid = version not in ("", _version_of(task))
        self._shown_by_us = (
            task is not None and task.status.state == pb.TASK_STATE_SUBMITTED and generation == 1
        )
        self._since_snapshot = 0
        self._snapshot_size = _SNAPSHOT_BYTES

    def change(self, event: ExecutorEvent) -> list[NewEvent]:
        """The logged changes that one executor event makes, in order (none, when it changes nothing).

        Raises InvalidAgentResponseError when the event is not one this task can take: another task's, a
        Message after a Task, a chunk appended to an artifact that does not exist.
        """
        if self.ended:
            return []
        _check_depth(event)
        if isinstance(event, pb.Message):
            return [self._reply(event)]
        if isinstance(event, pb.Task):
            return self._whole_task(event)
        self._check_ids(event.task_id, event.context_id)
        if isinstance(event, pb.TaskArtifactUpdateEvent) and event.append:
            _find(self.task or pb.Task(), event.artifact.artifact_id)  # refused before anything has changed
        changes = [] if self.task is not None else [self._begin()]
        changes.append(self._update(event))
        return changes

    def snapshot_due(self, *, force: bool = False) -> bytes | None:
        """The serialised Task, when the log since the last snapshot has outgrown it (so cost stays linear)."""
        if self.task is None or not (force or self._since_snapshot >= self._snapshot_size):
            return None
        self.task.metadata[GENERATION] = self.generation
        data = self.task.SerializeToString()
        self._since_snapshot, self._snapshot_size = 0, max(_SNAPSHOT_BYTES, 2 * len(data))
        return data

    def _check_ids(self, task_id: str, context_id: str) -> None:
        if task_id not in ("", self.task_id):
            raise InvalidAgentResponseError(
                f"The agent sent an event of task {task_id!r} while running {self.task_id!r}"
            )
        if context_id not in ("", self.context_id):
            raise InvalidAgentResponseError(
                f"The agent sent an event of context {context_id!r} while running {self.context_id!r}"
            )

    def _reply(self, event: pb.Message) -> NewEvent:
        if self.task is not None:
            if not self._shown_by_us:
                raise InvalidAgentResponseError(
                    "The agent sent a Message after it had begun a Task; use a status or artifact update"
                )
            # The caller already holds this task, so the answer completes it.
            status = pb.TaskStatusUpdateEvent(
                status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED, message=event)
            )
            return self._update(status)
        reply = pb.Message()
        reply.CopyFrom(event)
        reply.context_id = reply.context_id or self.context_id
        self.generation += 1
        self.ended = True
        body = orjson.dumps({"message": message_json(reply)})
        return NewEvent(body, MESSAGE)

    def _whole_task(self, event: pb.Task) -> list[NewEvent]:
        self._check_ids(event.id, event.context_id)
        if self.task is None:
            return [self._begin(event)]
        if not self._shown_by_us:
            return []  # as the SDK: a task that exists is changed by updates, never replaced
        self._shown_by_us = False
        updates: list[NewEvent] = [
            self._update(pb.TaskArtifactUpdateEvent(artifact=artifact, last_chunk=True))
            for artifact in event.artifacts
        ]
        if event.status.state not in (
            pb.TASK_STATE_UNSPECIFIED,
            self.task.status.state,
        ) or event.status.HasField("message"):
            updates.append(
                self._update(pb.TaskStatusUpdateEvent(status=event.status, metadata=event.metadata))
            )
        return updates

    def _begin(self, given: pb.Task | None = None) -> NewEvent:
        task = pb.Task()
        if given is not None:
            task.CopyFrom(given)
        task.id, task.context_id = self.task_id, self.context_id
        if task.status.state == pb.TASK_STATE_UNSPECIFIED:
            task.status.state = pb.TASK_STATE_SUBMITTED
        stamp(task.status)
        known = {m.message_id for m in task.history}
        if self._message is not None and self._message.message_id not in known:
            task.history.append(self._message)
        self._message = None
        self.task = task
        self.generation += 1
        task.metadata[GENERATION] = self.generation
        if self._unsaid:
            task.metadata[VERSION] = self._version
            self._unsaid = False
        body = orjson.dumps({"task": task_json(task)})
        return self._done(body, status_at=seconds(task.status))

    def _update(self, event: pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent) -> NewEvent:
        assert self.task is not None
        self.generation += 1
        message = b""
        if self._message is not None:
            if all(m.message_id != self._message.message_id for m in self.task.history):
                message = self._message.SerializeToString()
                take_message(self.task, self._message)
            self._message = None
        if isinstance(event, pb.TaskArtifactUpdateEvent):
            _fold_artifact(self.task, event)
            out = {"artifactUpdate": _logged(event, self)}
            return self._done(orjson.dumps(out), message=message)
        copy = pb.TaskStatusUpdateEvent()
        copy.CopyFrom(event)
        if copy.status.state == pb.TASK_STATE_UNSPECIFIED:
            copy.status.state = self.task.status.state
        stamp(copy.status)
        if self._unsaid:
            copy.metadata[VERSION] = self._version
            self._unsaid = False
        _fold_status(self.task, copy)
        out = {"statusUpdate": _logged(copy, self)}
        return self._done(orjson.dumps(out), status_at=seconds(copy.status), message=message)

    def _done(self, body: bytes, *, status_at: float | None = None, message: bytes = b"") -> NewEvent:
        assert self.task is not None
        self._since_snapshot += len(body)
        state = self.task.status.state
        self.ended = state in TERMINAL
        return NewEvent(body, state, status_at, message)


def _version_of(task: pb.Task | None) -> str:
    if task is None or not task.HasField("metadata") or VERSION not in task.metadata.fields:
        return ""
    return task.metadata.fields[VERSION].string_value


def _logged(
    event: pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent, fold: TaskFold
) -> dict[str, object]:
    out = update_json(event)
    out["taskId"], out["contextId"] = fold.task_id, fold.context_id
    out.setdefault("metadata", {})[GENERATION] = fold.generation
    return out


def _check_depth(event: ExecutorEvent) -> None:
    """Refuse data nested so deeply that protobuf would not read the task back (it stops at 100 of its own levels)."""
    parts: list[pb.Part] = []
    if isinstance(event, pb.Message):
        parts.extend(event.parts)
    elif isinstance(event, pb.TaskArtifactUpdateEvent):
        parts.extend(event.artifact.parts)
    else:
        parts.extend(event.status.message.parts)
    if isinstance(event, pb.Task):
        for artifact in event.artifacts:
            parts.extend(artifact.parts)
    for part in parts:
        if part.WhichOneof("content") == "data" and not _shallow(part.data, _MAX_DEPTH):
            raise InvalidAgentResponseError(f"The agent sent data nested more than {_MAX_DEPTH} levels deep")


def _shallow(value: struct_pb2.Value, left: int) -> bool:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return left > 0 and all(_shallow(v, left - 1) for v in value.struct_value.fields.values())
    if kind == "list_value":
        return left > 0 and all(_shallow(v, left - 1) for v in value.list_value.values)
    return True


def _fold_status(task: pb.Task, event: pb.TaskStatusUpdateEvent) -> None:
    if task.status.HasField("message"):
        task.history.append(task.status.message)
    if event.HasField("metadata"):
        task.metadata.MergeFrom(event.metadata)
    task.status.CopyFrom(event.status)


def _fold_artifact(task: pb.Task, event: pb.TaskArtifactUpdateEvent) -> None:
    new = event.artifact
    if event.append:
        artifact = _find(task, new.artifact_id)
        artifact.parts.extend(new.parts)
        if new.HasField("metadata"):
            artifact.metadata.MergeFrom(new.metadata)
        return
    for artifact in task.artifacts:
        if artifact.artifact_id == new.artifact_id:
            artifact.CopyFrom(new)
            return
    task.artifacts.append(new)


def _find(task: pb.Task, artifact_id: str) -> pb.Artifact:
    for artifact in task.artifacts:
        if artifact.artifact_id == artifact_id:
            return artifact
    raise InvalidAgentResponseError(
        f"The agent appended to artifact {artifact_id!r}, which the task does not have; send it first without append"
    )


def take_message(task: pb.Task, message: pb.Message) -> None:
    """Let a user's message enter the history, after the agent's last status message (as the SDK does)."""
    if task.status.HasField("message"):
        task.history.append(task.status.message)
        task.status.ClearField("message")
    task.history.append(message)


def fold(stored: StoredTask) -> pb.Task | None:
    """The Task that a stored snapshot and the events after it amount to; None when there is no Task to show."""
    task = pb.Task.FromString(stored.snapshot) if stored.snapshot_generation else None
    for body, message in stored.tail:
        task = apply(task, body, message)
    if task is not None:
        task.metadata[GENERATION] = stored.generation
    return task


def apply(task: pb.Task | None, body: bytes, message: bytes) -> pb.Task | None:
    """The Task after one logged event (None stays None when the event is a plain Message or an error)."""
    event = orjson.loads(body)
    if "task" in event:
        return ParseDict(event["task"], pb.Task())
    if task is None:
        return None
    if message:
        take_message(task, pb.Message.FromString(message))
    if "statusUpdate" in event:
        _fold_status(task, ParseDict(event["statusUpdate"], pb.TaskStatusUpdateEvent()))
    elif "artifactUpdate" in event:
        _fold_artifact(task, read_artifact_update(event["artifactUpdate"]))
    return task


def submitted(task_id: str, context_id: str, message: pb.Message) -> tuple[NewEvent, bytes]:
    """The first event and snapshot of a task that is shown before its executor has said anything."""
    made = TaskFold(task_id, context_id, None, 0, message)
    [event] = made.change(pb.Task(status=pb.TaskStatus(state=pb.TASK_STATE_SUBMITTED)))
    assert made.task is not None
    return event, made.task.SerializeToString()


def stamp(status: pb.TaskStatus) -> None:
    """Give a status the time of now where its sender gave none (ListTasks orders by it)."""
    if not status.HasField("timestamp"):
        status.timestamp.FromNanoseconds(time.time_ns() // 1_000_000 * 1_000_000)


def seconds(status: pb.TaskStatus) -> float:
    """A status's timestamp in seconds since the epoch."""
    return status.timestamp.seconds + status.timestamp.nanos / 1e9
