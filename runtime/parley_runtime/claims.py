"""Which parts of a message or an event are too large to travel in it, and what stands in their place."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import orjson
from a2a.types import a2a_pb2 as pb
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict, ParseDict, SerializeToJsonError

from parley_core.blobs import Blob, BlobDamaged
from parley_runtime.task import ExecutorEvent

BLOB = "parley.dev/blob"
"""Metadata key of a part whose content is in the blob store: its digest, its size in bytes, and under `content` whether
it was raw, text or data."""

_WHOLE = 4
"""How many times the limit of one part all parts of a message or event may have together."""
_TYPES = {"text": "text/plain", "data": "application/json", "raw": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Claim:
    """That part `index` of an accepted message is in the blob store; `shell` is the part as its sender wrote it,
    serialised without its content."""

    index: int
    content: str
    digest: str
    size: int
    shell: bytes

    def to_json(self) -> list[object]:
        return [self.index, self.content, self.digest, self.size, b64encode(self.shell).decode()]

    @classmethod
    def from_json(cls, told: Sequence[object]) -> "Claim":
        index, content, digest, size, shell = told
        assert isinstance(index, int)
        assert isinstance(size, int)
        return cls(index, str(content), str(digest), size, b64decode(str(shell)))


def parts_of(event: ExecutorEvent) -> Iterator[pb.Part]:
    """Every part in an event."""
    match event:
        case pb.Message():
            yield from event.parts
        case pb.TaskArtifactUpdateEvent():
            yield from event.artifact.parts
        case pb.TaskStatusUpdateEvent():
            yield from event.status.message.parts
        case pb.Task():
            yield from event.status.message.parts
            for artifact in event.artifacts:
                yield from artifact.parts
            for message in event.history:
                yield from message.parts


def large(parts: Iterable[pb.Part], limit: int) -> list[int]:
    """The positions of the parts that are not to travel: those over `limit` bytes, then the largest others until the
    rest has no more than four times the limit."""
    sizes = [(part.ByteSize(), at) for at, part in enumerate(parts) if part.WhichOneof("content") in _TYPES]
    left = sum(size for size, _ in sizes)
    found = []
    for size, at in sorted(sizes, reverse=True):
        if size <= limit and left <= _WHOLE * limit:
            break
        found.append(at)
        left -= size
    return sorted(found)


def content_of(part: pb.Part) -> bytes | None:
    """A part's content as a blob holds it: raw bytes, text in UTF-8, data as JSON. None for a URL, and for data that
    JSON cannot say."""
    match part.WhichOneof("content"):
        case "raw":
            return part.raw
        case "text":
            return part.text.encode()
        case "data":
            try:
                return orjson.dumps(
                    MessageToDict(part.data), option=orjson.OPT_SORT_KEYS
                )  # the same data, one blob
            except (ValueError, TypeError, SerializeToJsonError):
                return None
    return None


def claim(part: pb.Part, index: int, blob: Blob, url: str) -> Claim:
    """Put a URL in the place of a part's content, and say what was there."""
    content = part.WhichOneof("content") or ""
    shell = pb.Part()
    shell.CopyFrom(part)
    shell.ClearField(content)  # type: ignore[arg-type]
    part.url = url
    part.media_type = part.media_type or _TYPES[content]
    describe(part, blob, content)
    return Claim(index, content, blob.digest, blob.size, shell.SerializeToString())


def describe(part: pb.Part, blob: Blob, content: str) -> None:
    """Say in a part's metadata what its URL leads to."""
    part.metadata.update({BLOB: {"digest": blob.digest, "size": blob.size, "content": content}})


def restore(part: pb.Part, claimed: Claim, data: bytes) -> None:
    """Make of a part again what its sender wrote. Raises BlobDamaged when `data` cannot be its content."""
    part.CopyFrom(pb.Part.FromString(claimed.shell))
    _fill(part, claimed.content, data)


def described(part: pb.Part) -> tuple[str, int]:
    """What a URL part of this platform leads to: "raw", "text" or "data", and its bytes; "" for any other part."""
    if part.WhichOneof("content") != "url" or BLOB not in part.metadata:
        return "", 0
    told = part.metadata[BLOB]
    if not isinstance(told, struct_pb2.Struct):
        return "", 0
    content, size = told.fields["content"].string_value, told.fields["size"].number_value
    return (
        (content, int(size)) if content in _TYPES and isfinite(size) else ("", 0)
    )  # others may have written it


def inline(part: pb.Part, data: bytes) -> None:
    """Put the content that a URL part is described to lead to in its place. Raises BlobDamaged."""
    content, _ = described(part)
    del part.metadata[BLOB]
    if not part.metadata:
        part.ClearField("metadata")
    _fill(part, content, data)


def _fill(part: pb.Part, content: str, data: bytes) -> None:
    try:
        match content:
            case "raw":
                part.raw = data
            case "text":
                part.text = data.decode()
            case _:
                ParseDict(orjson.loads(data), part.data)
    except ValueError as error:
        raise BlobDamaged(f"what part {part.filename!r} leads to is not the {content} it was") from error
