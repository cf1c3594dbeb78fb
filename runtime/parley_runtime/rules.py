"""What the protocol asks of every request, checked before anything is stored (specification 3.3, 3.4, 5.7)."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Protocol

from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as a2a
from a2a.utils.input_mode_validator import validate_input_modes
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

_MAX_PAGE = 100
_DEFAULT_PAGE = 50
_MAX_ID = 512
_NAMES = frozenset({"id", "task_id", "context_id", "message_id", "tenant", "url"})


class _HasHistoryLength(Protocol):
    history_length: int


def invalid(field: str, why: str) -> a2a.InvalidParamsError:
    """An InvalidParamsError that names the field at fault."""
    return a2a.InvalidParamsError(
        message=f"{field}: {why}", data={"errors": [{"field": field, "message": why}]}
    )


def require_text(value: str, field: str) -> None:
    """Refuse an empty required string (5.7)."""
    if not value:
        raise invalid(field, "Field is required.")


def check_call(context: ServerCallContext, card: pb.AgentCard) -> None:
    """Refuse a caller that does not declare an extension the card requires (3.3.4)."""
    required = [e.uri for e in card.capabilities.extensions if e.required]
    missing = [uri for uri in required if uri not in context.requested_extensions]
    if missing:
        raise a2a.ExtensionSupportRequiredError(
            message=f"This agent requires extensions that the request does not declare: {', '.join(missing)}. "
            "Name them in the A2A-Extensions header.",
            data={"extensions": ",".join(missing)},
        )


def check_message(params: pb.SendMessageRequest, context: ServerCallContext, card: pb.AgentCard) -> None:
    """Refuse a message that lacks what the protocol requires, or that the agent's card rules out."""
    check_call(context, card)
    check_names(params)
    faults = (
        _message_faults(params.message) if params.HasField("message") else [("message", "Field is required.")]
    )
    if faults:
        listed = "; ".join(f"{field}: {why}" for field, why in faults)
        raise a2a.InvalidParamsError(
            message=listed, data={"errors": [{"field": field, "message": why} for field, why in faults]}
        )
    check_history(params.configuration)
    validate_input_modes(params.message, card)


def _message_faults(message: pb.Message) -> list[tuple[str, str]]:
    faults = []
    if not message.message_id:
        faults.append(("message.message_id", "Field is required."))
    if message.role == pb.ROLE_UNSPECIFIED:
        faults.append(("message.role", "Field is required."))
    elif message.role != pb.ROLE_USER:
        faults.append(("message.role", "A client's message has the role ROLE_USER."))
    if not message.parts:
        faults.append(("message.parts", "Field must contain at least one element."))
    for n, part in enumerate(message.parts):
        if part.WhichOneof("content") is None:
            faults.append((f"message.parts[{n}]", "A part needs one of text, raw, url or data."))
    for name in ("message_id", "context_id", "task_id"):
        if len(getattr(message, name)) > _MAX_ID:
            faults.append((f"message.{name}", f"At most {_MAX_ID} characters."))
    return faults


def check_names(params: Message) -> None:
    """Refuse unprintable characters in whatever a request names things by: not every database holds them (U+0000), and
    no log shows them."""
    faults = list(_unprintable(params, ""))
    if faults:
        why = "Must not hold unprintable characters."
        raise a2a.InvalidParamsError(
            message="; ".join(f"{field}: {why}" for field in faults),
            data={"errors": [{"field": field, "message": why} for field in faults]},
        )


def _unprintable(params: Message, path: str) -> Iterator[str]:
    names, inner = _named(params.DESCRIPTOR)
    for name in names:
        if not getattr(params, name).isprintable():
            yield path + name
    for name in inner:
        if params.HasField(name):
            yield from _unprintable(getattr(params, name), f"{path}{name}.")


@cache
def _named(kind: Descriptor) -> tuple[Sequence[str], Sequence[str]]:
    """The fields of a message that name something, and those that may hold such fields."""
    one = [field for field in kind.fields if not field.is_repeated]
    inner = [
        f for f in one if f.message_type is not None and f.message_type.file.package == kind.file.package
    ]
    return [f.name for f in one if f.name in _NAMES], [f.name for f in inner if any(_named(f.message_type))]


def check_history(params: _HasHistoryLength) -> None:
    """Refuse a negative historyLength (3.2.4)."""
    if params.history_length < 0:
        raise invalid("historyLength", "Must not be negative.")


def page_size(params: pb.ListTasksRequest) -> int:
    """The page size asked for, or the default. Raises InvalidParamsError outside 1 … 100."""
    if not params.HasField("page_size"):
        return _DEFAULT_PAGE
    if not 1 <= params.page_size <= _MAX_PAGE:
        raise invalid("pageSize", f"Must be between 1 and {_MAX_PAGE}.")
    return params.page_size


def offset(token: str) -> int:
    """Where a page of push configurations starts. Raises InvalidParamsError for a token that was not given out."""
    if token and (not token.isascii() or not token.isdigit() or len(token) > 9):
        raise invalid("pageToken", "not a token that ListTaskPushNotificationConfigs gave")
    return int(token or 0)


def require_streaming(card: pb.AgentCard) -> None:
    """Refuse streaming when the card does not claim it (3.3.4)."""
    if not card.capabilities.streaming:
        raise a2a.UnsupportedOperationError(message="This agent does not stream; use SendMessage and GetTask")


def require_push(card: pb.AgentCard) -> None:
    """Refuse push notifications when the card does not claim them (3.3.4)."""
    if not card.capabilities.push_notifications:
        raise a2a.PushNotificationNotSupportedError
