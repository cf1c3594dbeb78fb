"""The cards of a host: the public one and the one for who has logged in, signed, and signed anew when the keys change."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a2a.types import a2a_pb2 as pb

from parley_core import signingkeys
from parley_core.cardsignature import sign
from parley_core.errors import ConfigurationError
from parley_core.signingkeys import SigningKeys
from parley_runtime.bindings.card import JWKS_PATH, interfaces
from parley_runtime.settings import HostSettings

log = logging.getLogger(__name__)

_LOOK = 1.0
"""Seconds between two looks at the file of keys."""


class Cards:
    """What a host says of itself. The objects stay the same; their signatures change with the keys.

    Raises ConfigurationError when a card lacks what it needs, the two are not of one agent, or the keys cannot be used.
    """

    def __init__(self, card: pb.AgentCard, extended: pb.AgentCard | None, settings: HostSettings) -> None:
        self.public = _published(card, settings)
        self.extended: pb.AgentCard | None = None
        if extended is not None:
            self.public.capabilities.extended_agent_card = True
            self.extended = _extended(extended, self.public)
        self._path: Path | None = settings.signing_keys
        public_url = settings.public_url or f"http://{settings.listen}"
        self._jku = public_url.rstrip("/") + JWKS_PATH
        self._keys: SigningKeys | None = None
        if self._path is not None:
            self._sign(signingkeys.read(self._path))

    def jwks(self) -> dict[str, Any] | None:
        """The public keys as they are served; None when the cards are not signed."""
        return self._keys.public() if self._keys is not None else None

    async def run(self, changed: Callable[[], None]) -> None:
        """Sign again whenever the keys in the file change, and say so, until cancelled.

        A file that cannot be used (any more) is said once; the keys at hand stay.
        """
        if self._path is None:
            return
        said = ""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                keys = await asyncio.to_thread(signingkeys.read, self._path)
            except ConfigurationError as error:
                if said != str(error):
                    log.warning("cards stay signed as they are: %s", error)
                said = str(error)
                continue
            said = ""
            before, self._keys = self._keys, keys
            if before is None or keys.id != before.id:
                self._sign(keys)
                log.info("cards are signed with key %s from now on", keys.id)
                changed()

    def _sign(self, keys: SigningKeys) -> None:
        self._keys = keys
        for card in filter(None, (self.public, self.extended)):
            sign(card, keys, self._jku)


def _published(card: pb.AgentCard, settings: HostSettings) -> pb.AgentCard:
    """The card as this host publishes it: its version and interfaces filled in."""
    out = pb.AgentCard()
    out.CopyFrom(card)
    out.name = settings.agent_name or card.name
    out.version = settings.version or card.version
    if not out.name or not out.version:
        raise ConfigurationError("the card needs a name and a version (or give --version)")
    del out.supported_interfaces[:]
    out.supported_interfaces.extend(
        interfaces(settings.public_url or f"http://{settings.listen}", settings.grpc)
    )
    del out.signatures[:]  # of the author's file, which said other interfaces
    return out


def _extended(card: pb.AgentCard, public: pb.AgentCard) -> pb.AgentCard:
    if card.name != public.name:
        raise ConfigurationError(
            f"the extended card is of {card.name!r}, the card of {public.name!r}; both must have one name"
        )
    out = pb.AgentCard()
    out.CopyFrom(card)
    out.version = public.version
    out.capabilities.extended_agent_card = True
    del out.supported_interfaces[:]
    out.supported_interfaces.extend(public.supported_interfaces)
    del out.signatures[:]
    return out
