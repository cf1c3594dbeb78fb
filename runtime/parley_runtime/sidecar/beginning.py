"""How a sidecar begins: the server behind is waited for, and its card is the agent's."""

from a2a.types import a2a_pb2 as pb

from parley_runtime.settings import HostSettings
from parley_runtime.sidecar.forwarder import Forwarder
from parley_runtime.sidecar.server import LocalServer


async def begin(settings: HostSettings) -> tuple[pb.AgentCard, Forwarder]:
    """The card of the server that `settings.forward` names, as that of an agent in our host, and the executor that forwards to
    it. Raises ConfigurationError when it does not answer in `settings.forward_wait` seconds.

    A host streams, pushes and keeps tasks whatever the server can. Its card for who has logged in is not ours to show.
    """
    server = LocalServer(settings.forward)
    try:
        card = pb.AgentCard()
        card.CopyFrom(await server.begin(settings.forward_wait))
    except BaseException:
        await server.aclose()
        raise
    card.capabilities.streaming = card.capabilities.push_notifications = True
    card.capabilities.extended_agent_card = False
    return card, Forwarder(server, on_lost=settings.on_lost)
