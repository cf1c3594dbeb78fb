"""Tasks and their parts as ProtoJSON, by hand: what the general conversion gives, at a fraction of its cost.

Every event is serialised once and every answer holds a task, so these few objects are the hot path. A property test
holds them to `MessageToDict` and `ParseDict`.
"""

import time
from base64 import b64encode
from functools import lru_cache
from math import isfinite
from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

Json = dict[str, Any]


def struct_json(struct: struct_pb2.Struct) -> Json:
    """A Struct of metadata; its plain values without the general conversion."""
    out: Json = {}
    for key, value in struct.fields.items():
        kind = value.WhichOneof("kind")
        if kind == "number_value" and isfinite(value.number_value):
            out[key] = value.number_value
        elif kind == "string_value":
            out[key] = value.string_value
        else:
            out[key] = MessageToDict(value)
    return out


def part_json(part: pb.Part) -> Json:
    """A Part (section 4.1.6)."""
    out: Json = {}
    kind = part.WhichOneof("content")
    if kind == "text":
        out["text"] = part.text
    elif kind == "url":
        out["url"] = part.url
    elif kind == "raw":
        out["raw"] = b64encode(part.raw).decode()
    elif kind == "data":
        out["data"] = MessageToDict(part)["data"]
    if part.HasField("metadata"):
        out["metadata"] = struct_json(part.metadata)
    if part.filename:
        out["filename"] = part.filename
    if part.media_type:
        out["mediaType"] = part.media_type
    return out


def message_json(message: pb.Message) -> Json:
    """A Message (section 4.1.4)."""
    out: Json = {}
    if message.message_id:
        out["messageId"] = message.message_id
    if message.context_id:
        out["contextId"] = message.context_id
    if message.task_id:
        out["taskId"] = message.task_id
    if message.role:
        out["role"] = _role(message.role)
    if message.parts:
        out["parts"] = [part_json(part) for part in message.parts]
    if message.HasField("metadata"):
        out["metadata"] = struct_json(message.metadata)
    if message.extensions:
        out["extensions"] = list(message.extensions)
    if message.reference_task_ids:
        out["referenceTaskIds"] = list(message.reference_task_ids)
    return out


def timestamp_json(timestamp: Timestamp) -> str:
    """A Timestamp, as RFC 3339. Those of tasks are of few seconds at a time."""
    seconds, nanos = timestamp.seconds, timestamp.nanos
    if not 0 <= seconds < _YEAR_10000:
        return timestamp.ToJsonString()
    if nanos % 1_000:
        return f"{_second(seconds)}.{nanos:09d}Z"
    if nanos % 1_000_000:
        return f"{_second(seconds)}.{nanos // 1_000:06d}Z"
    return f"{_second(seconds)}.{nanos // 1_000_000:03d}Z" if nanos else f"{_second(seconds)}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def status_json(status: pb.TaskStatus) -> Json:
    """A TaskStatus (section 4.1.2)."""
    out: Json = {}
    if status.state:
        out["state"] = _state(status.state)
    if status.HasField("message"):
        out["message"] = message_json(status.message)
    if status.HasField("timestamp"):
        out["timestamp"] = timestamp_json(status.timestamp)
    return out


def artifact_json(artifact: pb.Artifact) -> Json:
    """An Artifact (section 4.1.7)."""
    out: Json = {}
    if artifact.artifact_id:
        out["artifactId"] = artifact.artifact_id
    if artifact.name:
        out["name"] = artifact.name
    if artifact.description:
        out["description"] = artifact.description
    if artifact.parts:
        out["parts"] = [part_json(part) for part in artifact.parts]
    if artifact.HasField("metadata"):
        out["metadata"] = struct_json(artifact.metadata)
    if artifact.extensions:
        out["extensions"] = list(artifact.extensions)
    return out


def task_json(task: pb.Task) -> Json:
    """A Task (section 4.1.1)."""
    out: Json = {}
    if task.id:
        out["id"] = task.id
    if task.context_id:
        out["contextId"] = task.context_id
    if task.HasField("status"):
        out["status"] = status_json(task.status)
    if task.artifacts:
        out["artifacts"] = [artifact_json(artifact) for artifact in task.artifacts]
    if task.history:
        out["history"] = [message_json(message) for message in task.history]
    if task.HasField("metadata"):
        out["metadata"] = struct_json(task.metadata)
    return out


def update_json(event: pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent) -> Json:
    """A TaskStatusUpdateEvent or TaskArtifactUpdateEvent (section 4.2)."""
    out: Json = {}
    if event.task_id:
        out["taskId"] = event.task_id
    if event.context_id:
        out["contextId"] = event.context_id
    if isinstance(event, pb.TaskStatusUpdateEvent):
        if event.HasField("status"):
            out["status"] = status_json(event.status)
    else:
        if event.HasField("artifact"):
            out["artifact"] = artifact_json(event.artifact)
        if event.append:
            out["append"] = True
        if event.last_chunk:
            out["lastChunk"] = True
    if event.HasField("metadata"):
        out["metadata"] = struct_json(event.metadata)
    return out


def read_plain_request(data: Json) -> pb.SendMessageRequest | None:
    """The commonest request, a user's message of text, without the general parser; None for any other, or one that has
    a mistake, which is for the general parser to name."""
    message, configuration = data.get("message"), data.get("configuration", _NO_CONFIGURATION)
    if not (data.keys() <= _PLAIN_REQUEST and isinstance(message, dict) and isinstance(configuration, dict)):
        return None
    parts, at_once = message.get("parts"), configuration.get("returnImmediately", False)
    if not (
        message.keys() <= _PLAIN_MESSAGE
        and message.get("role") == "ROLE_USER"
        and all(type(message.get(name, "")) is str for name in _MESSAGE_IDS)
        and isinstance(parts, list)
        and all(type(part) is dict and len(part) == 1 and type(part.get("text")) is str for part in parts)
        and configuration.keys() <= _NO_CONFIGURATION.keys()
        and type(at_once) is bool
    ):
        return None
    request = pb.SendMessageRequest()
    into = request.message
    into.role = pb.ROLE_USER
    into.message_id = message.get("messageId", "")
    into.context_id = message.get("contextId", "")
    into.task_id = message.get("taskId", "")
    for part in parts:
        into.parts.add(text=part["text"])
    if "configuration" in data:
        request.configuration.return_immediately = at_once
        request.configuration.SetInParent()
    return request


def read_artifact_update(data: Json) -> pb.TaskArtifactUpdateEvent:
    """The event that `update_json` wrote; the commonest, chunks of text, without the general parser and without the
    event's own metadata, which plays no part in folding."""
    if "artifact" not in data:
        return ParseDict(data, pb.TaskArtifactUpdateEvent())
    artifact = data["artifact"]
    parts = artifact.get("parts", ())
    plain = artifact.keys() <= _PLAIN_ARTIFACT and all("text" in p and p.keys() <= _PLAIN_PART for p in parts)
    if not plain:
        return ParseDict(data, pb.TaskArtifactUpdateEvent())
    event = pb.TaskArtifactUpdateEvent(
        append=data.get("append", False), last_chunk=data.get("lastChunk", False)
    )
    event.artifact.artifact_id = artifact.get("artifactId", "")
    event.artifact.name = artifact.get("name", "")
    event.artifact.description = artifact.get("description", "")
    for part in parts:
        added = event.artifact.parts.add(text=part["text"])
        if "filename" in part:
            added.filename = part["filename"]
        if "mediaType" in part:
            added.media_type = part["mediaType"]
    return event


_YEAR_10000 = 253_402_300_800
_PLAIN_REQUEST = frozenset({"message", "configuration"})
_MESSAGE_IDS = ("messageId", "contextId", "taskId")
_PLAIN_MESSAGE = frozenset({"role", "parts", *_MESSAGE_IDS})
_NO_CONFIGURATION = {"returnImmediately": False}
_PLAIN_ARTIFACT = frozenset({"artifactId", "name", "description", "parts"})
_PLAIN_PART = frozenset({"text", "filename", "mediaType"})
_STATES = {number: name for name, number in pb.TaskState.items()}
_ROLES = {number: name for name, number in pb.Role.items()}


def _state(number: int) -> str | int:
    return _STATES.get(number, number)


def _role(number: int) -> str | int:
    return _ROLES.get(number, number)
