"""What the Kubernetes API refuses, by what the caller can do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parley_core.errors import ParleyError


class KubeError(ParleyError):
    """A call to the Kubernetes API that did not do what it was to do."""


class ApiUnavailable(KubeError):
    """No answer, or none that counts (a connection that broke, 5xx, too many requests for too long): try again later."""


class ApiFailed(ApiUnavailable):
    """The server did answer: that it failed (5xx). The same call may succeed later, or may not."""


class NotLeading(KubeError):
    """The write was not sent, as another operator may be leading by the time that it would arrive."""


class ApiError(KubeError):
    """The API server answered that it will not."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class AlreadyExists(ApiError):
    """There is one of that name already."""


class Stale(ApiError):
    """The object was changed meanwhile: read it again."""


class Gone(ApiError):
    """The resource version is too old to watch from: list again."""


class Forbidden(ApiError):
    """The operator's service account may not."""


class Invalid(ApiError):
    """The object breaks the rules of its kind."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A field that another manager owns with another value."""

    field: str
    manager: str


class FieldConflict(ApiError):
    """Others own fields that were to be set, each of `claims`; nothing was written."""

    def __init__(self, status: int, reason: str, message: str, claims: tuple[Claim, ...]) -> None:
        super().__init__(status, reason, message)
        self.claims = claims


_BY_REASON: Mapping[str, type[ApiError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Stale,
    "Expired": Gone,
    "Gone": Gone,
    "Forbidden": Forbidden,
    "Invalid": Invalid,
}
_BY_STATUS: Mapping[int, type[ApiError]] = {
    403: Forbidden,
    404: NotFound,
    409: Stale,
    410: Gone,
    422: Invalid,
}


def refusal(status: int, told: Mapping[str, Any]) -> ApiError:
    """The error that a `Status` object of the API tells of."""
    reason = str(told.get("reason") or "")
    message = str(told.get("message") or f"the API server answered {status}")[:2000]
    causes = (told.get("details") or {}).get("causes") or ()
    claims = tuple(
        Claim(str(one.get("field", "")), _manager(str(one.get("message", ""))))
        for one in causes
        if one.get("reason") == "FieldManagerConflict"
    )
    if claims:
        return FieldConflict(status, reason, message, claims)
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(status) or ApiError
    return kind(status, reason, message)


def _manager(message: str) -> str:
    """The manager that `conflict with "kubectl-edit" using apps/v1` names."""
    parts = message.split('"')
    return parts[1] if len(parts) > 2 else message
