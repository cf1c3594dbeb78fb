"""Search by meaning: the vectors of entries and of what is asked, from an embedder that may be away."""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parley_core.errors import ConfigurationError
from parley_registry.searching.embedder import Embedder, EmbeddingsRefused, EmbeddingsUnavailable, Vectors
from parley_registry.searching.embedders.endpoint import EndpointEmbedder
from parley_registry.searching.embedders.kept import KeptEmbedder
from parley_registry.searching.embedders.local import LocalEmbedder
from parley_registry.settings import RegistrySettings

BATCH = 64
"""Entries whose vectors are asked for at once."""

_QUERY_SECONDS = 2.0
_BATCH_SECONDS = 60.0
_PAUSE = 5.0
"""Seconds after a failure for which no search waits for the embedder again."""
_REMEMBERED = 1000
_LONGEST = 4000


def open_embedder(address: str, model: str, key: str) -> Embedder:
    """The embedder that an address names: `local:` and a directory, or the URL of an OpenAI-compatible API.

    Raises ConfigurationError.
    """
    if address.startswith("local:"):
        return LocalEmbedder(Path(address.removeprefix("local:")).expanduser())
    if address.startswith(("http://", "https://")):
        return EndpointEmbedder(address, model, key)
    raise ConfigurationError(
        f"{address!r} is no source of embeddings; use local:/path/to/model or http(s)://host/v1"
    )


def open_semantic(settings: RegistrySettings) -> "Semantic | None":
    """What search by meaning needs, None where it is not wanted. Raises ConfigurationError."""
    if not settings.embeddings:
        return None
    key = settings.embeddings_key.get_secret_value()
    embedder = open_embedder(settings.embeddings, settings.embeddings_model, key)
    return Semantic(embedder, Path(settings.embeddings_cache).expanduser(), settings.embeddings_floor)


class Semantic:
    """What search by meaning needs of an embedder. Vectors of entries are kept in a file, those of queries for a while."""

    def __init__(self, embedder: Embedder, kept: Path, floor: float) -> None:
        self.floor = floor
        self.trouble = ""
        """Why the last call got no vectors, or ""."""
        self._embedder = embedder
        self._kept = KeptEmbedder(embedder, kept)
        self._asked: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._again = 0.0

    async def of_query(self, text: str) -> NDArray[np.float32] | None:
        """The vector of a query, None if there is none for now."""
        text = " ".join(text.split())
        known = self._asked.get(text)
        if known is not None:
            self._asked.move_to_end(text)
            return known
        if time.monotonic() < self._again:
            return None
        try:
            vector = (await self._embedder.embed([text], seconds=_QUERY_SECONDS))[0]
        except (EmbeddingsUnavailable, EmbeddingsRefused) as error:
            self._failed(error)
            return None
        self.trouble = ""
        self._asked[text] = vector
        if len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        return vector

    async def of_entries(self, texts: Sequence[str]) -> Vectors:
        """The vectors of entries by their texts (see `text_of`). Raises EmbeddingsUnavailable, EmbeddingsRefused."""
        try:
            vectors = await self._kept.embed(texts, seconds=_BATCH_SECONDS)
        except EmbeddingsUnavailable as error:
            self._failed(error)
            raise
        self.trouble = ""
        return vectors

    async def aclose(self) -> None:
        """Let go of the embedder and the file."""
        await self._kept.aclose()

    def _failed(self, error: Exception) -> None:
        self.trouble = str(error)
        self._again = time.monotonic() + _PAUSE


def text_of(card: Mapping[str, Any]) -> str:
    """What of a card says what the agent can do; its beginning, if that is very long."""
    told = [card["name"], card.get("description", "")]
    for skill in card.get("skills", ()):
        told += [skill["name"], skill["description"], ", ".join(skill["tags"]), *skill.get("examples", ())]
    return "\n".join(part for part in told if part)[:_LONGEST]
