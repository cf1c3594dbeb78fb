"""The cleaner: removes blobs that no task has used for long enough."""

import asyncio
import logging
import random

from parley_core.blobs import BlobStore
from parley_core.errors import Unavailable

log = logging.getLogger(__name__)

_MOST_SECONDS = 6 * 3600.0
"""Between two rounds; a round lists the whole place."""


class BlobCleaner:
    """Removes what was neither put nor touched for `age` seconds.

    Any number of hosts may do so at one place if all are told the same age: the one told the least decides.
    """

    def __init__(self, store: BlobStore, age: float) -> None:
        self._store = store
        self._age = age
        self._interval = min(_MOST_SECONDS, max(1.0, age / 10))

    async def run(self) -> None:
        """Clean until cancelled; hosts that start together do not all list at once."""
        await asyncio.sleep(random.uniform(0, min(self._interval, 600.0)))
        while True:
            try:
                if removed := await self.clean():
                    log.info(
                        "removed %d blobs that no task has used for %.0f days", removed, self._age / 86400
                    )
            except Unavailable as error:
                log.warning("cannot clean the blob store: %s", error)
            await asyncio.sleep(self._interval)

    async def clean(self) -> int:
        """Remove what is too old now; how many. Raises Unavailable."""
        removed = 0
        async for blob in self._store.older_than(self._age):
            # Listing takes its time: what was used again meanwhile stays.
            now = await self._store.stat(blob.digest)
            if now is not None and now.touched <= blob.touched:
                removed += await self._store.delete(blob.digest)
        return removed
