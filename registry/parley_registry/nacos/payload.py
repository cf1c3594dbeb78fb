"""The one message that Nacos's gRPC speaks: a `Payload` with a type name, headers and a JSON body.

Built here from its description (three fields that matter) rather than generated, so that no package of stubs is
needed; `body` has the layout of google.protobuf.Any on the wire.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_FIELD = descriptor_pb2.FieldDescriptorProto


def _message() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="parley/nacos_payload.proto", syntax="proto3")
    metadata = file.message_type.add(name="Metadata")
    metadata.field.add(name="type", number=3, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    metadata.field.add(name="client_ip", number=8, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    headers = metadata.nested_type.add(name="HeadersEntry")
    headers.options.map_entry = True
    for number, name in ((1, "key"), (2, "value")):
        headers.field.add(name=name, number=number, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    metadata.field.add(
        name="headers",
        number=7,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".Metadata.HeadersEntry",
        label=_FIELD.LABEL_REPEATED,
    )
    body = file.message_type.add(name="Body")
    body.field.add(name="value", number=2, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_OPTIONAL)
    payload = file.message_type.add(name="Payload")
    for number, name, kind in ((2, "metadata", ".Metadata"), (3, "body", ".Body")):
        payload.field.add(
            name=name, number=number, type=_FIELD.TYPE_MESSAGE, type_name=kind, label=_FIELD.LABEL_OPTIONAL
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Payload"))


_Payload = _message()


def pack(kind: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    """A payload of type `kind` on the wire."""
    payload = _Payload()
    payload.metadata.type = kind
    payload.metadata.headers.update(headers)
    payload.body.value = orjson.dumps(body)
    return bytes(payload.SerializeToString())


def unpack(data: bytes) -> tuple[str, dict[str, Any]]:
    """Type and body of a payload. Raises ValueError when it is none."""
    payload = _Payload()
    try:
        payload.ParseFromString(data)
        body = orjson.loads(payload.body.value or b"{}")
    except (DecodeError, orjson.JSONDecodeError) as error:
        raise ValueError("not a payload of Nacos") from error
    if not isinstance(body, dict):
        raise ValueError("not a payload of Nacos")
    return str(payload.metadata.type), body
