"""Admission: what a message may ask of the schedule, and what it is given without asking.

A message's metadata, or its request's, may name a priority (`parley.dev/priority`, 0 to 7) and a deadline
(`parley.dev/deadline`, seconds or an RFC 3339 time); the message's own counts before the request's.
"""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb
from google.protobuf import struct_pb2

from parley_runtime import rules
from parley_runtime.store import HIGHEST, LOWEST, NORMAL

PRIORITY = "parley.dev/priority"
DEADLINE = "parley.dev/deadline"
LOCAL = "local"
"""The one caller on loopback, where nobody has to say who they are."""

_FURTHEST = 366 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a message waits for its turn (see `NewMessage`)."""

    tenant: str
    priority: int = NORMAL
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """The terms of callers. `trusted` callers may choose priorities, and speak for tenants that share separately; `classes`
    are priorities of callers who do not choose."""

    trusted: Collection[str] = (LOCAL,)
    classes: Mapping[str, int] = field(default_factory=dict)

    def terms(self, params: pb.SendMessageRequest, context: ServerCallContext) -> Terms:
        """The terms of one message. Anybody can name any tenant, so only a trusted caller's tenants have shares of their
        own. Raises InvalidParamsError."""
        caller = caller_of(context)
        trusted = caller in self.trusted
        tenant = owner_of(context) if trusted else caller
        priority = self.classes.get(caller, NORMAL)
        if not params.message.metadata.fields and not params.metadata.fields:
            return Terms(tenant, priority)
        asked = _asked(params, PRIORITY)
        if asked is not None:
            if not trusted:
                raise rules.invalid(
                    f"metadata[{PRIORITY!r}]",
                    "this caller may not choose priorities; leave it out, or have the operator name the caller in --trusted",
                )
            priority = _priority(asked)
        deadline = _asked(params, DEADLINE)
        return Terms(tenant, priority, None if deadline is None else _expires_in(deadline))


def caller_of(context: ServerCallContext) -> str:
    """Who calls, whatever tenant is named."""
    return context.user.user_name or LOCAL


def owner_of(context: ServerCallContext) -> str:
    """Who a call's tasks belong to: the caller, within the tenant if the call names one."""
    caller = caller_of(context)
    return f"{caller}#{context.tenant}" if context.tenant else caller


def _asked(params: pb.SendMessageRequest, key: str) -> struct_pb2.Value | None:
    for metadata in (params.message.metadata, params.metadata):
        if key in metadata.fields:
            return metadata.fields[key]
    return None


def _priority(value: struct_pb2.Value) -> int:
    number = value.number_value
    if value.WhichOneof("kind") != "number_value" or number not in range(LOWEST, HIGHEST + 1):
        raise rules.invalid(
            f"metadata[{PRIORITY!r}]", f"must be a whole number from {LOWEST} to {HIGHEST} (highest)"
        )
    return int(number)


def _expires_in(value: struct_pb2.Value) -> float:
    """Seconds that are left; 0 when the time has passed (the message may be a repeat, whose answer is known)."""
    if value.WhichOneof("kind") == "number_value":
        seconds = value.number_value
        if math.isfinite(seconds) and 0 < seconds <= _FURTHEST:
            return seconds
    elif value.WhichOneof("kind") == "string_value":
        try:
            at = datetime.fromisoformat(value.string_value)
        except ValueError:
            at = None
        if at is not None and at.tzinfo is not None and at.timestamp() - time.time() <= _FURTHEST:
            return max(0.0, at.timestamp() - time.time())
    raise rules.invalid(
        f"metadata[{DEADLINE!r}]",
        "must be a number of seconds from now, or a time with its zone as in 2026-01-31T12:00:00Z, within a year",
    )
