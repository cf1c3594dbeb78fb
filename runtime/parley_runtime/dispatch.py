"""What a work entry carries: the request and what an executor may know of the call that brought it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from a2a.auth.user import User
from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb

from parley_runtime.claims import Claim

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


@dataclass(frozen=True, slots=True)
class Call:
    """A call as kept with the work: who, for which tenant, with which extensions and headers (never credentials)."""

    owner: str
    tenant: str = ""
    extensions: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    """Which parts of the message are in the blob store."""

    @classmethod
    def of(cls, context: ServerCallContext, owner: str, claims: tuple[Claim, ...] = ()) -> "Call":
        """What of a call's context is kept."""
        headers = {
            k: v for k, v in context.state.get("headers", {}).items() if k.lower() not in _SECRET_HEADERS
        }
        return cls(owner, context.tenant, tuple(sorted(context.requested_extensions)), headers, claims)

    def context(self) -> ServerCallContext:
        """The call's context as the executor sees it, perhaps in another process and much later."""
        return ServerCallContext(
            state={"headers": dict(self.headers)},
            user=_Caller(self.owner),
            tenant=self.tenant,
            requested_extensions=set(self.extensions),
        )


class _Caller(User):
    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def is_authenticated(self) -> bool:
        return self._name != "local"

    @property
    def user_name(self) -> str:
        return self._name


def pack(call: Call, request: pb.SendMessageRequest | pb.CancelTaskRequest) -> bytes:
    """The bytes of a work entry: the call as JSON, a newline, the request as protobuf."""
    head = orjson.dumps(
        [call.owner, call.tenant, call.extensions, dict(call.headers), [one.to_json() for one in call.claims]]
    )
    return head + b"\n" + request.SerializeToString()


def unpack(data: bytes) -> tuple[Call, bytes]:
    """The call and the request's protobuf bytes of a work entry."""
    head, _, body = data.partition(b"\n")
    owner, tenant, extensions, headers, claims = orjson.loads(head)
    kept = tuple(Claim.from_json(one) for one in claims)
    return Call(owner, tenant, tuple(extensions), headers, kept), body


def digest(message: pb.Message) -> bytes:
    """Identity of a message's content as its sender wrote it, to tell a repeat from a reuse of its id."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()
