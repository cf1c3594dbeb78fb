"""From bytes a stranger sent to the protocol's objects, or to the error that says what is wrong with them.

The a2a-sdk parses leniently: an enum value it does not know becomes 0, bytes that are not base64 become
nothing, and a document nested too deeply is found out only when it is stored. Here each is InvalidParams.
Unknown fields are ignored, as section 5.7 asks.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import orjson
from a2a.utils.errors import InvalidParamsError, JSONParseError
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

MAX_DEPTH = 32
"""Nested objects and arrays in a request. Protobuf reads back 100 of its own levels, three to an object."""

_FIELD = re.compile(r"Failed to parse (\w+) field: ")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_REASON_CHARS = 200

Violation = tuple[str, str]
"""A field's path in JSON names, and what is wrong with it."""

_Check = Callable[[Any, str], "Violation | None"]


def invalid(message: str, *violations: Violation) -> InvalidParamsError:
    """InvalidParams that names each field at fault, as google.rpc.BadRequest in the answer (section 9.5)."""
    errors = [{"field": field, "message": reason} for field, reason in violations]
    return InvalidParamsError(message, data={"errors": errors} if errors else None)


def parse_json(body: bytes) -> Any:
    """The value a JSON document holds. Raises JSONParseError for anything that is not strict UTF-8 JSON
    (NaN, lone surrogates, numbers beyond a double), and InvalidParamsError when it nests too deeply."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise JSONParseError(f"The body is not valid JSON: {error}") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise invalid(
            f"The request nests more than {MAX_DEPTH} objects and arrays; flatten it or send it as raw"
        )
    return value


def decode(kind: type[M], data: Any) -> M:
    """The protocol object of class `kind` that a parsed JSON value describes. Raises InvalidParamsError."""
    if not isinstance(data, dict):
        raise invalid("Parameters must be a JSON object", ("", f"expected an object, got {_name(data)}"))
    check = _check_of(kind.DESCRIPTOR)
    violation = check(data, "") if check else None
    if violation:
        raise invalid("Invalid parameters", violation)
    return _parse(kind, data)


def decode_query(kind: type[M], query: Mapping[str, Sequence[str]]) -> M:
    """The same from query parameters (section 11.5); names that `kind` does not have are ignored."""
    data: dict[str, Any] = {}
    fields = {field.camelcase_name: field for field in kind.DESCRIPTOR.fields}
    for name, values in query.items():
        field = fields.get(name)
        if field is None:
            continue
        if field.is_repeated:
            data[name] = [part for value in values for part in value.split(",") if part]
        else:
            data[name] = _query_value(field, name, values[-1])
    return decode(kind, data)


def _query_value(field: FieldDescriptor, name: str, value: str) -> str | bool | int:
    if field.type == FieldDescriptor.TYPE_BOOL:
        if value not in ("true", "false"):
            raise invalid("Invalid query parameter", (name, f"must be true or false, not {_short(value)}"))
        return value == "true"
    if field.type == FieldDescriptor.TYPE_INT32:
        if not _INTEGER.fullmatch(value) or len(value) > 11:
            raise invalid("Invalid query parameter", (name, f"must be a whole number, not {_short(value)}"))
        return int(value)
    return value


def _parse(kind: type[M], data: dict[str, Any]) -> M:
    try:
        return ParseDict(data, kind(), ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError, KeyError) as error:
        text = str(error)
        path = ".".join(_FIELD.findall(text))
        reason = _FIELD.sub("", text).strip().rstrip(".")
        raise invalid("Invalid parameters", (path, _short(reason, quote=False))) from None


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


@cache
def _check_of(descriptor: Descriptor) -> _Check | None:
    """A check of the fields that ParseDict lets pass: enums and bytes, wherever they are in the message."""
    if descriptor.file.package == "google.protobuf":
        return None
    checks: list[tuple[str, str, _Check]] = []
    for field in descriptor.fields:
        check = _field_check(field)
        if check:
            checks.append((field.json_name, field.name, _each(check) if field.is_repeated else check))
    if not checks:
        return None

    def of_message(value: Any, path: str) -> Violation | None:
        if isinstance(value, dict):
            for json_name, name, inner in checks:
                found = value.get(json_name, value.get(name))
                if found is not None:
                    violation = inner(found, f"{path}.{json_name}" if path else json_name)
                    if violation:
                        return violation
        return None

    return of_message


def _field_check(field: FieldDescriptor) -> _Check | None:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _enum_check(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes_check
    if field.message_type is not None and not field.message_type.GetOptions().map_entry:
        return _check_of(field.message_type)
    return None


def _enum_check(enum: EnumDescriptor) -> _Check:
    names, numbers = frozenset(enum.values_by_name), frozenset(enum.values_by_number)

    def check(value: Any, path: str) -> Violation | None:
        known = value in numbers if isinstance(value, int) and not isinstance(value, bool) else value in names
        return None if known else (path, f"{_short(value)} is not one of {', '.join(enum.values_by_name)}")

    def safe(value: Any, path: str) -> Violation | None:
        if isinstance(value, dict | list):
            return path, f"expected the name of a {enum.name}, got {_name(value)}"
        return check(value, path)

    return safe


def _bytes_check(value: Any, path: str) -> Violation | None:
    if isinstance(value, str) and (not _BASE64.fullmatch(value) or len(value.rstrip("=")) % 4 == 1):
        return path, "is not base64"
    return None


def _each(check: _Check) -> _Check:
    def of_list(value: Any, path: str) -> Violation | None:
        if isinstance(value, list):
            for index, item in enumerate(value):
                violation = check(item, f"{path}[{index}]")
                if violation:
                    return violation
        return None

    return of_list


def _name(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _short(value: Any, *, quote: bool = True) -> str:
    text = repr(value) if quote else str(value)
    return text if len(text) <= _REASON_CHARS else text[:_REASON_CHARS] + "…"
