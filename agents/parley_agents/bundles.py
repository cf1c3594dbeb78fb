"""How repositories and other large parts get from agent to agent: small ones inside the message, large ones
as signed URLs of content-addressed blobs."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx
from a2a.types.a2a_pb2 import Part
from google.protobuf.json_format import MessageToDict

from parley_agents.artifacts import GIT_BUNDLE
from parley_agents.settings import AgentSettings
from parley_core.bloblinks import UrlSigner, digest_in, key_file, load_key
from parley_core.blobs import BlobError, BlobMissing, BlobStore, digest_of, put_bytes, read_bytes
from parley_core.blobstores import blob_store
from parley_core.errors import Unavailable
from parley_core.guardedhttp import guarded_client
from parley_core.urlguard import UrlGuard

URL_LIFETIME = 24 * 3600.0
"""Seconds a part's URL stays readable: longer than any job."""

FETCH_SECONDS = 60.0


class Exchange:
    """Turns bytes into parts of a message and parts back into bytes."""

    def __init__(
        self,
        store: BlobStore | None = None,
        signer: UrlSigner | None = None,
        *,
        own_url: str = "",
        inline_limit: int = 256 * 1024,
        max_bytes: int = 256 * 1024 * 1024,
        guard: UrlGuard | None = None,
    ) -> None:
        """Without `store` and `signer` every part travels inside its message. `own_url` is the address the
        signer signs for; URLs elsewhere are called only where `guard` permits."""
        self._store = store
        self._signer = signer
        self._own = own_url.rstrip("/")
        self._inline_limit = inline_limit
        self._max_bytes = max_bytes
        self._guard = guard or UrlGuard(option="PARLEY_BLOB_ALLOW")

    @classmethod
    def from_settings(cls, settings: AgentSettings) -> "Exchange":
        """The exchange this process is configured for. Raises ConfigurationError when half of it is missing."""
        guard = UrlGuard(settings.blob_allow, option="PARLEY_BLOB_ALLOW")
        if not settings.blobs or not settings.blob_url:
            return cls(guard=guard, max_bytes=settings.max_bundle)
        key = load_key(key_file(settings.blobs, settings.blob_key_file))
        return cls(
            blob_store(settings.blobs),
            UrlSigner(key, settings.blob_url),
            own_url=settings.blob_url,
            inline_limit=settings.inline_limit,
            max_bytes=settings.max_bundle,
            guard=guard,
        )

    async def part(self, data: bytes, media_type: str, filename: str) -> Part:
        """A raw part, or a url part when `data` is larger than the inline limit and there is a blob store.

        Raises BlobError when it is larger than anything may be.
        """
        if len(data) > self._max_bytes:
            raise BlobError(
                f"{filename} has {len(data)} bytes, more than the {self._max_bytes} of PARLEY_MAX_BUNDLE"
            )
        if self._store is None or self._signer is None or len(data) <= self._inline_limit:
            return Part(raw=data, media_type=media_type, filename=filename)
        blob = await put_bytes(self._store, data, limit=self._max_bytes)
        url = self._signer.sign(blob.digest, lifetime=URL_LIFETIME)
        return Part(url=url, media_type=media_type, filename=filename)

    async def bytes_of(self, part: Part) -> bytes:
        """A part's content, fetched if it is a URL and checked against the digest in it.

        Raises BlobError when it is missing, damaged or too large, UrlRefused when its URL must not be called,
        Unavailable when its server does not answer.
        """
        kind = part.WhichOneof("content")
        if kind == "raw":
            data = part.raw
        elif kind == "text":
            data = part.text.encode()
        elif kind == "url":
            data = await self._fetch(part.url)
        else:
            raise BlobError(f"part {part.filename or '(unnamed)'} holds neither raw bytes, text nor a URL")
        if len(data) > self._max_bytes:
            raise BlobError(f"part {part.filename or '(unnamed)'} is larger than {self._max_bytes} bytes")
        return data

    async def _fetch(self, url: str) -> bytes:
        digest = digest_in(url)
        own = bool(self._own) and url.startswith(self._own + "/")
        if self._store and self._signer and (mine := self._signer.digest_of_own(url)):
            try:
                return await read_bytes(self._store, mine, limit=self._max_bytes)
            except BlobMissing:
                pass  # another store under the same key may have it
        data = await self._download(url, own)
        if digest and digest_of(data) != digest:
            raise BlobError(f"what {_origin(url)} sent is not blob {digest[:12]}")
        return data

    async def _download(self, url: str, own: bool) -> bytes:
        if own:
            client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=FETCH_SECONDS)
        else:
            await self._guard.check(url)
            client = guarded_client(self._guard, max_body=self._max_bytes + 1, seconds=FETCH_SECONDS)
        data = bytearray()
        try:
            async with client, client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise BlobError(f"{_origin(url)} answered {response.status_code} for a part's URL")
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > self._max_bytes:
                        raise BlobError(f"a part from {_origin(url)} is larger than {self._max_bytes} bytes")
        except httpx.HTTPError as error:
            raise Unavailable(f"{_origin(url)} does not deliver a part: {type(error).__name__}") from error
        return bytes(data)

    async def bundle_part(self, commit: str, bundle: bytes) -> Part:
        """The part that carries a commit, named `<commit>.bundle`."""
        return await self.part(bundle, GIT_BUNDLE, f"{commit}.bundle")


def data_of(part: Part) -> Mapping[str, object] | None:
    """The JSON object of a data part, whole numbers as int; None for any other part."""
    if part.WhichOneof("content") != "data":
        return None
    value = _whole(MessageToDict(part.data))
    return value if isinstance(value, dict) else None


def _whole(value: object) -> object:
    """JSON's numbers arrive from protobuf as floats; those without a fraction were meant as integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def _origin(url: str) -> str:
    return urlsplit(url).netloc or "the address"
