"""Whether a JSON value has the shape of a protobuf message, with every misfit named (protobuf's own parser stops at the first)."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.api.field_behavior_pb2 import FieldBehavior, field_behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from parley_registry.errors import Fault

_STRUCT = "google.protobuf.Struct"
_SCALARS: Mapping[int, tuple[type, str]] = {
    FieldDescriptor.TYPE_STRING: (str, "a string"),
    FieldDescriptor.TYPE_BOOL: (bool, "true or false"),
}


def fit(value: Any, kind: Descriptor, faults: list[Fault], path: str = "") -> dict[str, Any]:
    """`value` as ProtoJSON of `kind`, each misfit put into `faults` and replaced by an empty value of the right type.

    So a caller can go on and find what else is wrong. Members that `kind` does not know are left out.
    """
    if not isinstance(value, dict):
        faults.append(Fault(path, f"must be an object, not {_called(value)}"))
        return {}
    fitting: dict[str, Any] = {}
    for field in kind.fields:
        names = [n for n in dict.fromkeys((field.json_name, field.name)) if value.get(n) is not None]
        if len(names) > 1:
            faults.append(
                Fault(_join(path, names[0]), f"is given twice, also as {names[1]!r}; leave one out")
            )
        if names:
            fitting[field.json_name] = _fit_field(value[names[0]], field, faults, _join(path, names[0]))
    for oneof in kind.oneofs:
        given = [field.json_name for field in oneof.fields if field.json_name in fitting]
        if len(given) > 1:
            faults.append(Fault(path, f"has {' and '.join(given)}; only one of them may be given"))
            for name in given[1:]:
                del fitting[name]
    return fitting


def missing_faults(message: Message, path: str = "") -> Iterator[Fault]:
    """The fields that the protocol requires (`field_behavior = REQUIRED`) and `message` lacks, by their JSON names."""
    for field in message.DESCRIPTOR.fields:
        here = _join(path, field.json_name)
        value = getattr(message, field.name)
        if FieldBehavior.REQUIRED in field.GetOptions().Extensions[field_behavior]:
            if field.is_repeated and not value and not _is_map(field):
                yield Fault(here, "is required; give at least one")
            elif field.has_presence and not message.HasField(field.name):
                yield Fault(here, "is required; {} will do if there is nothing to say")
            elif not field.is_repeated and not field.has_presence and not value:
                yield Fault(here, "is required and must not be empty")
        if field.type != FieldDescriptor.TYPE_MESSAGE or field.message_type.full_name == _STRUCT:
            continue
        if _is_map(field):
            if field.message_type.fields_by_name["value"].message_type is not None:
                for key, one in value.items():
                    yield from missing_faults(one, f"{here}[{key!r}]")
        elif field.is_repeated:
            for index, one in enumerate(value):
                yield from missing_faults(one, f"{here}[{index}]")
        elif message.HasField(field.name):
            yield from missing_faults(value, here)


def _fit_field(value: Any, field: FieldDescriptor, faults: list[Fault], path: str) -> Any:
    if _is_map(field):
        if not isinstance(value, dict):
            faults.append(Fault(path, f"must be an object, not {_called(value)}"))
            return {}
        member = field.message_type.fields_by_name["value"]
        return {key: _fit_one(one, member, faults, f"{path}[{key!r}]") for key, one in value.items()}
    if field.is_repeated:
        if not isinstance(value, list):
            faults.append(Fault(path, f"must be a list, not {_called(value)}"))
            return []
        return [_fit_one(one, field, faults, f"{path}[{index}]") for index, one in enumerate(value)]
    return _fit_one(value, field, faults, path)


def _fit_one(value: Any, field: FieldDescriptor, faults: list[Fault], path: str) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if field.message_type.full_name != _STRUCT:
            return fit(value, field.message_type, faults, path)
        if isinstance(value, dict):
            return value
        faults.append(Fault(path, f"must be an object, not {_called(value)}"))
        return {}
    wanted, called = _SCALARS[field.type]
    if isinstance(value, wanted):
        return value
    faults.append(Fault(path, f"must be {called}, not {_called(value)}"))
    return wanted()


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _called(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
