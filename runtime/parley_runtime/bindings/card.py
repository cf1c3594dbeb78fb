"""The public card (section 8) and the keys that sign it: served with ETag and Cache-Control."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types import a2a_pb2 as pb
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH, VERSION_HEADER, TransportProtocol
from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parley_runtime.bindings.versions import V0_3, V1_0

JSONRPC_PATH = "/a2a/jsonrpc"
REST_PATH = "/a2a/rest"
JWKS_PATH = "/.well-known/jwks.json"
"""Where a host that signs its cards serves the public keys."""

_MAX_AGE = 60
"""Seconds a client may use the card without asking again; asking costs one 304."""


def card_routes(card: pb.AgentCard) -> list[Route]:
    """The route of the well-known card; answers GET and HEAD, and 304 to a matching If-None-Match.

    Clients of A2A 0.3 find what they read in it too, unless the request says `A2A-Version: 1.0`: then it is the card
    alone, to the member what a signature covers (section 8.4.1). The tag is the same on all replicas and changes
    with the keys, not with each signature: so a client never keeps one by a key that is gone.
    """
    rendered: dict[tuple[bool, tuple[str, ...]], tuple[bytes, str]] = {}

    async def show(request: Request) -> Response:
        alone = request.headers.get(VERSION_HEADER, "").startswith("1.")
        form = (alone, tuple(one.protected for one in card.signatures))
        if form not in rendered:
            rendered.clear()
            rendered[form] = _render(MessageToDict(card) if alone else agent_card_to_dict(card))
        body, tag = rendered[form]
        headers = {
            "etag": tag,
            "cache-control": f"public, max-age={_MAX_AGE}",
            "vary": VERSION_HEADER,
        }
        known = (
            one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")
        )
        if any(one in ("*", tag.removeprefix("W/")) for one in known):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    return [Route(AGENT_CARD_WELL_KNOWN_PATH, show, methods=["GET"])]


def _render(said: dict[str, Any]) -> tuple[bytes, str]:
    keys = [one.get("protected", "") for one in said.get("signatures", ())]
    what = {**said, "signatures": keys}
    tag = sha256(orjson.dumps(what, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return orjson.dumps(said), f'W/"{tag}"'


def jwks_route(jwks: Callable[[], dict[str, Any] | None]) -> Route:
    """The route of the public keys (RFC 7517); 404 where cards are not signed."""

    async def show(_: Request) -> Response:
        keys = jwks()
        if keys is None:
            return Response(status_code=404)
        headers = {"cache-control": f"public, max-age={_MAX_AGE}"}
        return Response(orjson.dumps(keys), headers=headers, media_type="application/jwk-set+json")

    return Route(JWKS_PATH, show, methods=["GET"])


def interfaces(public_url: str, grpc_address: str = "") -> list[pb.AgentInterface]:
    """The `supportedInterfaces` of a host: every binding it serves, 1.0 first, then 0.3 for older clients.

    `public_url` is the host's base URL, `grpc_address` the gRPC binding's host:port, or empty without one.
    """
    base = public_url.rstrip("/")
    served = [
        (base + JSONRPC_PATH, TransportProtocol.JSONRPC),
        (base + REST_PATH, TransportProtocol.HTTP_JSON),
    ]
    if grpc_address:
        served.append((grpc_address, TransportProtocol.GRPC))
    return [
        pb.AgentInterface(url=url, protocol_binding=binding.value, protocol_version=version)
        for version in (V1_0, V0_3)
        for url, binding in served
    ]
