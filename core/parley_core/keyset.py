"""An issuer's public keys, fetched from a URL or a file and kept fresh while they change and while it is down."""

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
import orjson

from parley_core.errors import ParleyError, Unavailable
from parley_core.signingkeys import PRIVATE

log = logging.getLogger(__name__)

_MAX_BYTES = 512 * 1024
_MAX_KEYS = 200
"""Keys of one set: looking for one among many thousands takes longer than a caller may be kept waiting."""


class KeySet:
    """A JSON Web Key Set (RFC 7517). Durations are seconds.

    Keys older than `fresh` are fetched again in the background. A key id that is not known leads to one fetch
    at once, so a rotation is noticed on its first token, but never more than one fetch every `pause`. While the source
    does not answer, the keys at hand stay good for `stale` since they were last confirmed. `http` is the client to
    fetch with, if not one of its own.
    """

    def __init__(
        self,
        source: str,
        *,
        fresh: float = 600.0,
        pause: float = 10.0,
        stale: float = 6 * 3600.0,
        timeout: float = 5.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self.revision = 0
        """Grows whenever the keys change."""
        self._source = source
        self._http = http
        self._fresh = fresh
        self._pause = pause
        self._stale = stale
        self._timeout = timeout
        self._keys: tuple[Mapping[str, Any], ...] = ()
        self._confirmed = float("-inf")
        self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key of that id, to verify a signature of that algorithm with; None when the issuer has none.

        A token without an id can be verified only when exactly one key fits. Raises Unavailable when
        there are no keys that may still be used and the source does not answer.
        """
        age = time.monotonic() - self._confirmed
        if age > self._stale:
            await self._refresh()
            if time.monotonic() - self._confirmed > self._stale:
                raise Unavailable(
                    "tokens cannot be verified now: the issuer's keys are not to be had; try again"
                )
        elif age > self._fresh:
            self._start()
        key = self._pick(kid, algorithm)
        if key is None and age <= self._stale:
            await self._refresh()
            key = self._pick(kid, algorithm)
        return key

    def known(self, kid: str, algorithm: str) -> jwt.PyJWK | None:
        """The same without asking anybody: None, too, when the keys are too old to be used."""
        fresh_enough = time.monotonic() - self._confirmed <= self._stale
        return self._pick(kid, algorithm) if fresh_enough else None

    @property
    def keys(self) -> tuple[Mapping[str, Any], ...]:
        """The public keys at hand, as JSON Web Keys."""
        return self._keys

    async def refresh(self) -> None:
        """Fetch the keys now, if the last time is `pause` ago. A source that does not answer is logged."""
        await self._refresh()

    async def aclose(self) -> None:
        """End a fetch that is running."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _pick(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        fits = []
        for key in self._keys:
            if kid is not None and key.get("kid") != kid:
                continue
            if key.get("alg", algorithm) != algorithm or key.get("use", "sig") != "sig":
                continue
            try:
                fits.append(jwt.PyJWK(dict(key), algorithm))
            except jwt.PyJWTError:  # of another type than this algorithm's
                continue
        return fits[0] if len(fits) == 1 else None

    async def _refresh(self) -> None:
        task = self._start()
        if task is not None:
            await asyncio.shield(task)

    def _start(self) -> "asyncio.Task[None] | None":
        if self._fetching is None or self._fetching.done():
            now = time.monotonic()
            if now - self._tried < self._pause:
                return None
            self._tried = now
            self._fetching = asyncio.create_task(self._fetch(), name="fetch-keys")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                keys = _parse(await self._read())
            self._confirmed = time.monotonic()
        except (
            OSError,
            TimeoutError,
            ParleyError,
            httpx.HTTPError,
            httpx.InvalidURL,
            ValueError,
        ) as error:
            log.warning("cannot fetch the keys from %s: %s", self._source, error)
            return
        if keys != self._keys:
            self._keys = keys
            self.revision += 1

    async def _read(self) -> bytes:
        if not self._source.startswith(("https://", "http://")):
            return await asyncio.to_thread(Path(self._source.removeprefix("file://")).read_bytes)
        if self._http is not None:
            return await self._fetched(self._http)
        async with httpx.AsyncClient(timeout=self._timeout) as client:
            return await self._fetched(client)

    async def _fetched(self, client: httpx.AsyncClient) -> bytes:
        body = b""
        async with client.stream("GET", self._source) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"the answer is longer than {_MAX_BYTES} bytes")
        return body


def _parse(body: bytes) -> tuple[Mapping[str, Any], ...]:
    found = orjson.loads(body)
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise ValueError("this is not a JSON Web Key Set: it has no list of keys")
    if len(keys) > _MAX_KEYS:
        raise ValueError(f"it has {len(keys)} keys, of which at most {_MAX_KEYS} are taken")
    public = [key for key in keys if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP")]
    return tuple({k: v for k, v in key.items() if k not in PRIVATE} for key in public)
