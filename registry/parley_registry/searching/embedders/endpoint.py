"""An OpenAI-compatible embeddings endpoint: `POST {url}/embeddings`."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import orjson

from parley_core.errors import ConfigurationError
from parley_registry.searching.embedder import EmbeddingsRefused, EmbeddingsUnavailable, Vectors

_MOST = 32 * 2**20
"""Bytes of an answer."""
_REFUSALS = (400, 413, 422)
_SHOWN = 200


class EndpointEmbedder:
    """A model behind a URL such as `http://host/v1`. The key is sent as a bearer token and shown nowhere.

    Raises ConfigurationError without the name of a model.
    """

    def __init__(self, url: str, model: str, key: str) -> None:
        if not model:
            raise ConfigurationError(
                f"say which model of {url} makes the embeddings, with --embeddings-model"
            )
        self.name = f"{url.rstrip('/')} {model}"
        self._url, self._model = url.rstrip("/"), model
        self._size = 0
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(headers=headers, limits=httpx.Limits(max_connections=8))

    async def embed(self, texts: Sequence[str], *, seconds: float) -> Vectors:
        """See `Embedder.embed`."""
        asked = orjson.dumps({"model": self._model, "input": list(texts), "encoding_format": "float"})
        status, body = await self._post(asked, seconds)
        if status in _REFUSALS:
            raise EmbeddingsRefused(f"{self._url} refuses the texts ({status}): {_shown(body)}")
        if status != 200:
            raise EmbeddingsUnavailable(f"{self._url} answers {status}: {_shown(body)}")
        try:
            vectors = _vectors(orjson.loads(body), len(texts))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise EmbeddingsUnavailable(
                f"{self._url} does not answer with embeddings as OpenAI's API does: {error!s}"
            ) from error
        if self._size and vectors.shape[1] != self._size:
            raise EmbeddingsUnavailable(
                f"the vectors of {self._url} were {self._size} numbers long and are now {vectors.shape[1]}; "
                "if the model behind it was changed, restart the registry with another --embeddings-model"
            )
        self._size = vectors.shape[1]
        return vectors

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""
        await self._http.aclose()

    async def _post(self, asked: bytes, seconds: float) -> tuple[int, bytes]:
        url, headers = f"{self._url}/embeddings", {"content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.stream("POST", url, content=asked, headers=headers, timeout=seconds) as answer,
            ):
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MOST:
                        raise EmbeddingsUnavailable(f"the answer of {self._url} is longer than {_MOST} bytes")
                return answer.status_code, bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise EmbeddingsUnavailable(
                f"{self._url} does not answer ({str(error) or type(error).__name__})"
            ) from error


def _vectors(told: Any, count: int) -> Vectors:
    rows = sorted(told["data"], key=lambda one: one["index"])
    if [one["index"] for one in rows] != list(range(count)):
        raise ValueError(f"{len(rows)} vectors for {count} texts")
    vectors = np.array([one["embedding"] for one in rows], np.float32)
    if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
        raise ValueError("vectors that are not lists of finite numbers of one length")
    return vectors


def _shown(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return "".join(char if char.isprintable() else "?" for char in text)[:_SHOWN]
