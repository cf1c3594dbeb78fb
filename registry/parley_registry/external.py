"""External agents: cards fetched from a URL, with a limit on everything, and looked at again from time to time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import httpx
import orjson
from a2a.types import AgentCard

from parley_core.guardedhttp import ResponseTooLarge, guarded_client
from parley_core.urlguard import Network, UrlGuard, UrlRefused
from parley_registry.card import MAX_CARD, CheckedCard, check_card
from parley_registry.cardurl import card_url
from parley_registry.entry import Agent
from parley_registry.errors import CardUnreachable, NameDiffers, RegistryError
from parley_registry.legacy import modern
from parley_registry.record import Record, Source

_logger = logging.getLogger(__name__)

FETCH_SECONDS = 5.0
_AT_ONCE = 8


class External:
    """Registers agents by the URL of their card and keeps their entries true."""

    def __init__(
        self,
        record: Record,
        *,
        allow: Sequence[Network],
        every: float,
        admit: Callable[[AgentCard], Awaitable[None]],
    ) -> None:
        self._record = record
        self._admit = admit
        self._guard = UrlGuard(allow, option="--allow")
        self._http = guarded_client(self._guard, max_body=2 * MAX_CARD, seconds=FETCH_SECONDS)
        self._every = every

    async def fetch(self, url: str) -> tuple[str, CheckedCard]:
        """The card at `url` (of a bare server: at its well-known path), and the URL that it was fetched from.

        Raises CardUnreachable, CardRejected.
        """
        try:
            self._guard.parse(url)
        except UrlRefused as error:
            raise CardUnreachable(f"no card is fetched from there: {error}") from error
        place = card_url(url)
        return place, await self._fetch(place)

    async def look(self) -> int:
        """Look at the sources that are due, a few at a time; returns how many that were."""
        due = await self._record.claim_sources(self._every, _AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for source in due:
                tasks.create_task(self._look_at(source))
        return len(due)

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _look_at(self, source: Source) -> None:
        try:
            checked = await self._fetch(source.url)
            await self._admit(checked.card)
            known = await self._record.latest(Agent(source.namespace, checked.card.name))
            if known is None or known.source != source.url:
                # Who registered it had a right to one name; the card may not go on to take another.
                raise NameDiffers(f"its card is now of an agent called {checked.card.name}")
            await self._record.publish(checked, namespace=source.namespace, instance=None, source=source.url)
        except RegistryError as error:
            _logger.info("the external agent at %s counts as down: %s", source.url, error.summary)
            await self._record.mark_source(source, "down")

    async def _fetch(self, source: str) -> CheckedCard:
        try:
            async with asyncio.timeout(2 * FETCH_SECONDS):
                response = await self._http.get(source, headers={"accept": "application/json"})
        except (UrlRefused, ResponseTooLarge) as error:
            raise CardUnreachable(f"no card is fetched from there: {error}") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise CardUnreachable(
                f"nothing answers at {source} within {FETCH_SECONDS:g} s ({type(error).__name__}); is the URL right?"
            ) from error
        if response.status_code != 200:
            raise CardUnreachable(
                f"{source} answers {response.status_code} instead of a card; give the URL that it is served at"
            )
        try:
            return check_card(modern(orjson.loads(response.content)))
        except orjson.JSONDecodeError as error:
            raise CardUnreachable(
                f"what {source} answers is not JSON; give the URL of an AgentCard"
            ) from error
