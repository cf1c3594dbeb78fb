"""The bytes of an AgentCard that a signature covers (A2A 1.0, section 8.4.1): RFC 8785 over its JSON."""

from copy import copy
from functools import cache
from typing import Any, Literal, NamedTuple

import rfc8785
from a2a.types import AgentCard
from google.api.field_behavior_pb2 import FieldBehavior, field_behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, SerializeToJsonError

from parley_core.errors import ParleyError


class NotCanonical(ParleyError):
    """The card has no canonical form: a number or a text that JSON cannot carry."""


def canonical(card: AgentCard) -> bytes:
    """The card without its signatures, as the specification has it signed.

    Required members are always there, optional ones if they were set, all others unless they are empty.
    Raises NotCanonical.
    """
    said = _said(card)
    _complete(AgentCard.DESCRIPTOR, said)
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


class _Member(NamedTuple):
    """A member of a message that has to be looked at: because it is required, or because it holds messages."""

    name: str
    required: bool
    empty: Any
    holds: Descriptor | None
    many: Literal["", "list", "map"]


@cache
def _members(kind: Descriptor) -> tuple[_Member, ...]:
    found = []
    for field in kind.fields:
        required = FieldBehavior.REQUIRED in field.GetOptions().Extensions[field_behavior]
        mapped = _is_map(field)
        holds = field.message_type.fields_by_name["value"].message_type if mapped else field.message_type
        if holds is not None and holds.file != kind.file:  # a Struct, which is JSON as it is
            holds = None
        if required or holds is not None:
            many: Literal["", "list", "map"] = "map" if mapped else "list" if field.is_repeated else ""
            found.append(_Member(field.json_name, required, _empty(field), holds, many))
    return tuple(found)


def _complete(kind: Descriptor, said: dict[str, Any]) -> None:
    """Add the required members that ProtoJSON leaves out because they are empty."""
    for member in _members(kind):
        if member.required and member.name not in said:
            said[member.name] = copy(member.empty)
        told = said.get(member.name)
        if member.holds is None or told is None:
            continue
        parts = told if member.many == "list" else told.values() if member.many == "map" else (told,)
        for part in parts:
            _complete(member.holds, part)


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
