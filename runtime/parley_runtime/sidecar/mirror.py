"""What a task at the server behind does, written into our log of the task."""

from a2a.types import a2a_pb2 as pb

from parley_runtime.executor import TaskLog
from parley_runtime.sidecar.ids import Remote, note, our_message, our_metadata, our_status, remote_of, settled
from parley_runtime.store import INTERRUPTED


class Mirror:
    """Our task `task_id` of `context_id` as the image of one there, written to `events`."""

    def __init__(self, events: TaskLog, task_id: str, context_id: str) -> None:
        self.remote = remote_of(events.fold.task)
        """What the task is called there, once that is known."""
        self.done = False
        """Whether it has ended, or waits for its client."""
        self._events = events
        self._ids = (task_id, context_id)
        self._answered = b""
        self._last = pb.Task()  # as it was seen there

    def answering(self, task: pb.Task) -> None:
        """Take the question that a task asks for answered, though it may be shown for another moment."""
        self._answered = task.status.SerializeToString()

    def settles(self, answer: pb.StreamResponse) -> bool:
        """Whether an answer tells that the task has ended, or waits for its client."""
        return answer.HasField("status_update") and settled(answer.status_update.status, self._answered)

    async def take(self, answer: pb.StreamResponse) -> None:
        """Write what the server says."""
        kind = answer.WhichOneof("payload")
        if self.done or self._events.fold.ended:
            self.done = True
        elif kind == "task":
            await self.see(answer.task)
        elif kind == "message":
            await self._events.enqueue_event(our_message(answer.message, "", self._ids[1]))
            self.done = True
        elif kind == "status_update":
            await self._status(answer.status_update)
        elif kind == "artifact_update":
            await self._chunk(answer.artifact_update)

    async def see(self, task: pb.Task) -> None:
        """Write what of a task we have not: its artifacts, then its status."""
        remote, ours = Remote(task.id, task.context_id), self._events.fold.task
        self.done = self._events.fold.ended or settled(task.status, self._answered)
        before, self._last = self._last, task
        if self._events.fold.ended:
            return
        if ours is None:
            return await self._begin(remote, task)
        known = {one.artifact_id: one for one in ours.artifacts}
        seen = {one.artifact_id: one for one in before.artifacts}
        for artifact in task.artifacts:
            if artifact not in (seen.get(artifact.artifact_id), known.get(artifact.artifact_id)):
                event = pb.TaskArtifactUpdateEvent(artifact=artifact, last_chunk=True)
                await self._events.enqueue_event(event)
        status = our_status(task.status, *self._ids)
        shown_still = status.state in INTERRUPTED and not self.done
        if not shown_still and task.status != before.status and status != ours.status:
            await self._say(status, remote, task)
        elif remote_of(ours) != remote:
            await self._say(pb.TaskStatus(state=ours.status.state), remote)
        self.remote = remote

    async def _begin(self, remote: Remote, task: pb.Task) -> None:
        begun = pb.Task(status=our_status(task.status, *self._ids), artifacts=task.artifacts)
        begun.metadata.CopyFrom(our_metadata(task.metadata))
        note(begun.metadata, remote)
        self.remote = remote
        await self._events.enqueue_event(begun)

    async def _status(self, update: pb.TaskStatusUpdateEvent) -> None:
        remote = Remote(update.task_id, update.context_id)
        await self._say(our_status(update.status, *self._ids), remote, update)
        self.done = settled(update.status, self._answered)

    async def _chunk(self, update: pb.TaskArtifactUpdateEvent) -> None:
        remote, ours = Remote(update.task_id, update.context_id), self._events.fold.task
        if ours is None:
            await self._begin(remote, pb.Task(status=pb.TaskStatus(state=pb.TASK_STATE_SUBMITTED)))
        elif remote_of(ours) != remote:
            await self._say(pb.TaskStatus(state=ours.status.state), remote)
        event = pb.TaskArtifactUpdateEvent(
            artifact=update.artifact, append=update.append, last_chunk=update.last_chunk
        )
        if update.HasField("metadata"):
            event.metadata.CopyFrom(our_metadata(update.metadata))
        await self._events.enqueue_event(event)

    async def _say(
        self, status: pb.TaskStatus, remote: Remote, told: pb.Task | pb.TaskStatusUpdateEvent | None = None
    ) -> None:
        event = pb.TaskStatusUpdateEvent(status=status)
        if told is not None and told.HasField("metadata"):
            event.metadata.CopyFrom(our_metadata(told.metadata))
        if remote_of(self._events.fold.task) != remote:
            note(event.metadata, remote)
        self.remote = remote
        await self._events.enqueue_event(event)
