"""The names that the server behind has for a task of ours and its context, and its events with our names. Pure."""

from typing import NamedTuple

from a2a.types import a2a_pb2 as pb
from google.protobuf import struct_pb2

from parley_runtime.store import INTERRUPTED, TERMINAL
from parley_runtime.task import GENERATION, VERSION

FORWARDED = "parley.dev/forwarded"
"""Metadata key under which a task says what it is called at the server behind: `{"taskId": …, "contextId": …}`."""

_OWN = (GENERATION, VERSION, FORWARDED)


class Remote(NamedTuple):
    """A task at the server behind."""

    task_id: str
    context_id: str


def remote_of(task: pb.Task | None) -> Remote | None:
    """What a task of ours is called at the server behind, as far as it says."""
    if task is None or not task.HasField("metadata") or FORWARDED not in task.metadata.fields:
        return None
    told = task.metadata.fields[FORWARDED].struct_value.fields
    return Remote(told["taskId"].string_value, told["contextId"].string_value)


def note(metadata: struct_pb2.Struct, remote: Remote) -> None:
    """Say in the metadata of a task what it is called at the server behind."""
    metadata[FORWARDED] = {"taskId": remote.task_id, "contextId": remote.context_id}


def theirs(message: pb.Message, remote: Remote | None, context_id: str) -> pb.Message:
    """Our user's message as the server behind is to have it: about its task, or of a context without one."""
    out = pb.Message()
    out.CopyFrom(message)
    out.task_id = remote.task_id if remote is not None else ""
    out.context_id = remote.context_id if remote is not None else context_id
    return out


def our_message(message: pb.Message, task_id: str, context_id: str) -> pb.Message:
    """A message of the server behind with our names."""
    out = pb.Message()
    out.CopyFrom(message)
    out.task_id, out.context_id = task_id, context_id
    return out


def our_status(status: pb.TaskStatus, task_id: str, context_id: str) -> pb.TaskStatus:
    """A status of the server behind with our names."""
    out = pb.TaskStatus()
    out.CopyFrom(status)
    if out.HasField("message"):
        out.message.task_id, out.message.context_id = task_id, context_id
    return out


def our_metadata(metadata: struct_pb2.Struct) -> struct_pb2.Struct:
    """Metadata of the server behind without what we say ourselves (it may be another host of ours)."""
    out = struct_pb2.Struct()
    out.CopyFrom(metadata)
    for key in _OWN:
        out.fields.pop(key, None)
    return out


def settled(status: pb.TaskStatus, answered: bytes) -> bool:
    """Whether a task has ended, or waits for its client; `answered` is the status to which the client's message is the
    answer, which may still be shown for a moment."""
    if status.state in INTERRUPTED:
        return status.SerializeToString() != answered
    return status.state in TERMINAL
