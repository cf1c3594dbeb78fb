"""The bytes of an AgentCard that a signature covers (A2A 1.0, section 8.4.1): RFC 8785 over its JSON."""

from typing import Any

import rfc8785
from a2a.types import AgentCard
from google.api.field_behavior_pb2 import FieldBehavior, field_behavior
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import Message

from parley_core.errors import ParleyError


class NotCanonical(ParleyError):
    """The card has no canonical form: a number or a text that JSON cannot carry."""


def canonical(card: AgentCard) -> bytes:
    """The card without its signatures, as the specification has it signed.

    Required members are always there, optional ones if they were set, all others unless they are empty.
    Raises NotCanonical.
    """
    said = _said(card)
    _complete(card, said)
    return _bytes(said)


def without_empty(card: AgentCard) -> bytes:
    """The form that the a2a-sdk signs and verifies: the same without any empty text, list or object.

    It differs from `canonical` where a card says something by an empty value, above all in a
    `securityRequirements` that names a scheme without scopes. Raises NotCanonical.
    """
    return _bytes(_cleaned(_said(card)) or {})


def _said(card: AgentCard) -> dict[str, Any]:
    try:
        said: dict[str, Any] = MessageToDict(card)
    except (SerializeToJsonError, ValueError) as error:
        raise NotCanonical(f"the card cannot be signed or verified: {error}") from error
    said.pop("signatures", None)
    return said


def _bytes(value: Any) -> bytes:
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise NotCanonical(f"the card cannot be signed or verified: {error}") from error


def _complete(message: Message, said: dict[str, Any]) -> None:
    """Add the required members that ProtoJSON leaves out because they are empty."""
    for field in message.DESCRIPTOR.fields:
        name = field.json_name
        if FieldBehavior.REQUIRED in field.GetOptions().Extensions[field_behavior]:
            said.setdefault(name, _empty(field))
        if (
            not said.get(name)
            or field.message_type is None
            or field.message_type.file != message.DESCRIPTOR.file
        ):
            continue
        value = getattr(message, field.name)
        if _is_map(field):
            if field.message_type.fields_by_name["value"].message_type is not None:
                for key, one in value.items():
                    _complete(one, said[name][key])
        elif field.is_repeated:
            for one, told in zip(value, said[name], strict=True):
                _complete(one, told)
        else:
            _complete(value, said[name])


def _empty(field: FieldDescriptor) -> Any:
    if field.is_repeated:
        return {} if _is_map(field) else []
    return {} if field.message_type is not None else field.default_value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _cleaned(value: Any) -> Any:
    """The value without what is empty, None if nothing is left."""
    if isinstance(value, dict):
        return {k: kept for k, v in value.items() if (kept := _cleaned(v)) is not None} or None
    if isinstance(value, list):
        return [kept for v in value if (kept := _cleaned(v)) is not None] or None
    return None if value == "" else value
