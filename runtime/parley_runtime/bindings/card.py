"""The public card (section 8): served with ETag and Cache-Control, readable for 1.0 and 0.3 clients."""

from a2a.server.routes import create_agent_card_routes
from a2a.types import a2a_pb2 as pb
from a2a.utils.constants import TransportProtocol
from starlette.routing import Route

from parley_runtime.bindings.versions import V0_3, V1_0

JSONRPC_PATH = "/a2a/jsonrpc"
REST_PATH = "/a2a/rest"

_MAX_AGE = 60
"""Seconds a client may use the card without asking again; asking costs one 304."""


def card_routes(card: pb.AgentCard) -> list[Route]:
    """The route of the well-known card; answers GET and HEAD, and 304 to a matching If-None-Match."""
    routes = create_agent_card_routes(card, cache_control=f"public, max-age={_MAX_AGE}")
    return [route for route in routes if isinstance(route, Route)]


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
