"""Whom this registry believes: public keys of others, and what the signatures of the cards it serves are worth.

Keys come only from the files and URLs that the settings name. A card's `jku` is never followed: whoever can change
a card could change that too.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict

from parley_core.cardsignature import Signature, TrustedKey, check, key_ids
from parley_core.errors import ConfigurationError
from parley_core.guardedhttp import guarded_client
from parley_core.keyset import KeySet
from parley_core.urlguard import Network, UrlGuard, UrlRefused
from parley_registry.errors import SignatureRequired
from parley_registry.record import Stored
from parley_registry.shown import shown_card

_logger = logging.getLogger(__name__)

FILE_EVERY, URL_EVERY = 1.0, 60.0
"""Seconds between two looks at a file of keys, and at a URL."""
_PAUSE = 10.0
"""Seconds between two fetches of a URL because of key ids that are not known."""
_STALE = 24 * 3600.0
"""Seconds for which keys are good while their source does not answer."""
_REMEMBERED = 16_384
_MAX_KEYS = 512 * 1024


@dataclass(frozen=True, slots=True)
class _Source:
    signer: str
    keys: KeySet
    every: float


class Trust:
    """The trusted keys of one service process. `required` is whether a card must be signed by one of them.

    `sources` are files or URLs of JSON Web Key Sets, each as `SIGNER=PLACE` or `PLACE` alone; the signer is what is
    shown of whoever signed. URLs are fetched from public addresses and from those in `allow`.

    Raises ConfigurationError.
    """

    def __init__(self, sources: Sequence[str], *, allow: Sequence[Network], required: bool) -> None:
        if required and not sources:
            raise ConfigurationError("--require-signature needs --trusted-keys: nobody's signature is known")
        guard = UrlGuard(allow, option="--allow")
        self._http = guarded_client(guard, max_body=_MAX_KEYS, seconds=5.0)
        self._sources = [self._source(one, guard) for one in sources]
        self._required = required
        self._judged: OrderedDict[bytes, tuple[int, Signature]] = OrderedDict()

    @property
    def revision(self) -> int:
        """Grows whenever any of the keys changes."""
        return sum(one.keys.revision for one in self._sources)

    async def open(self) -> None:
        """Fetch the keys. One that cannot be had now is logged and fetched later."""
        await asyncio.gather(*(one.keys.refresh() for one in self._sources))

    async def close(self) -> None:
        """Let go of connections."""
        for one in self._sources:
            await one.keys.aclose()
        await self._http.aclose()

    async def run(self, changed: Callable[[frozenset[str]], Awaitable[None]]) -> None:
        """Keep the keys fresh, and tell the ids of those that came, went or became others, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in self._sources:
                tasks.create_task(self._keep(one))
            known = self._keys()
            while self._sources:
                await asyncio.sleep(FILE_EVERY / 2)
                if (now := self._keys()) != known:
                    await changed(frozenset(kid for kid, _ in known ^ now))
                    known = now

    async def admit(self, card: AgentCard) -> None:
        """Let a card be published, or not: with `required`, only one with a signature by a trusted key.

        Keys that are not known are looked for once more, for their owner may just have changed them.
        Raises SignatureRequired.
        """
        if card.signatures and self._sources:
            for kid, algorithm in key_ids(card):
                if kid and not self._find(kid, algorithm):
                    await self.open()
                    break
        if self._required and (found := check(card, self._find)).state != "verified":
            raise SignatureRequired(_WHY[found.state].format(kid=found.key_id, signer=found.signer))

    def concerned(self, entry: Stored, kids: frozenset[str]) -> bool:
        """Whether a signature of the entry claims one of these keys."""
        if b'"signatures"' not in entry.card:
            return False
        card = ParseDict(shown_card(entry), AgentCard())
        return any(kid in kids for kid, _ in key_ids(card))

    def judged(self, entry: Stored) -> Stored:
        """The entry with what the signatures of the card are worth that it is shown with."""
        if b'"signatures"' not in entry.card:
            return entry
        card = orjson.dumps(shown_card(entry), option=orjson.OPT_SORT_KEYS)
        place = hashlib.sha256(card).digest()
        known = self._judged.get(place)
        if known is None or known[0] != self.revision:
            found = check(ParseDict(orjson.loads(card), AgentCard()), self._find)
            known = (self.revision, found)
            self._judged[place] = known
            if len(self._judged) > _REMEMBERED:
                self._judged.popitem(last=False)
        return replace(entry, signature=known[1])

    def _keys(self) -> frozenset[tuple[str, bytes]]:
        return frozenset(
            (str(key.get("kid", "")), orjson.dumps(key, option=orjson.OPT_SORT_KEYS))
            for one in self._sources
            for key in one.keys.keys
        )

    def _find(self, kid: str, algorithm: str) -> list[TrustedKey]:
        found = ((one.keys.known(kid, algorithm), one.signer) for one in self._sources)
        return [TrustedKey(key, signer) for key, signer in found if key is not None]

    def _source(self, told: str, guard: UrlGuard) -> _Source:
        signer, named, place = told.partition("=")
        if not named or "/" in signer:
            signer, place = "", told
        if place.startswith(("https://", "http://")):
            try:
                guard.parse(place)
            except UrlRefused as error:
                raise ConfigurationError(f"--trusted-keys {place}: {error}") from error
            keys = KeySet(place, pause=_PAUSE, stale=_STALE, http=self._http)
            return _Source(signer or urlsplit(place).netloc, keys, URL_EVERY)
        if "://" in place:
            raise ConfigurationError(f"--trusted-keys {told!r} is neither a file nor an http(s) URL")
        return _Source(signer or Path(place).stem, KeySet(place, pause=0.0, stale=_STALE), FILE_EVERY)

    async def _keep(self, source: _Source) -> None:
        while True:
            await asyncio.sleep(source.every)
            await source.keys.refresh()


_WHY = {
    "none": "this registry takes signed cards only, and this one is not: start the host with --signing-keys, and have "
    "the registry trust its public keys (--trusted-keys)",
    "untrusted": "the card is signed by key {kid!r}, which this registry does not trust: have its public keys added to "
    "--trusted-keys",
    "invalid": "the card is not what key {kid!r} of {signer} signed: it was changed afterwards; publish it as it was "
    "signed, or sign it again",
}
