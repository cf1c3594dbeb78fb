"""A static embedding model from a directory: no network, no accelerator, some ten thousand texts a second."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from parley_core.errors import ConfigurationError
from parley_registry.searching.embedder import EmbeddingsUnavailable, Vectors

if TYPE_CHECKING:
    from model2vec import StaticModel

_WEIGHTS = "model.safetensors"


class LocalEmbedder:
    """A model2vec model. Raises ConfigurationError when the directory holds none, or model2vec is not installed."""

    def __init__(self, folder: Path) -> None:
        weights = folder / _WEIGHTS
        if not weights.is_file():
            raise ConfigurationError(
                f"{folder} is not a static embedding model: it has no {_WEIGHTS}; name the directory of a model2vec model, "
                "as its save_pretrained writes it"
            )
        self._model = _load(folder)
        with weights.open("rb") as file:
            self.name = f"local:{hashlib.file_digest(file, 'blake2b').hexdigest()[:32]}"

    async def embed(self, texts: Sequence[str], *, seconds: float) -> Vectors:
        """See `Embedder.embed`."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.to_thread(self._embed, list(texts))
        except TimeoutError:
            raise EmbeddingsUnavailable(f"the local model took more than {seconds:g} s") from None

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""

    def _embed(self, texts: list[str]) -> Vectors:
        return np.asarray(self._model.encode(texts, use_multiprocessing=False), np.float32)


def _load(folder: Path) -> "StaticModel":
    try:
        from model2vec import StaticModel
    except ImportError:
        raise ConfigurationError(
            "local embeddings need the package model2vec; install parley-registry[embeddings], or name an endpoint"
        ) from None
    try:
        return StaticModel.from_pretrained(folder, force_download=False)
    except Exception as error:  # the loaders of three libraries, each with errors of its own
        raise ConfigurationError(f"the embedding model in {folder} cannot be loaded: {error}") from error
