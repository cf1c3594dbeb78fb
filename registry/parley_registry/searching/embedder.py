"""The embedder port: what makes vectors of texts, so that search finds by meaning, too."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parley_core.errors import ParleyError, Unavailable

Vectors = NDArray[np.float32]
"""One row a text, all of one length."""


class EmbeddingsUnavailable(Unavailable):
    """No vectors for now; search goes on with words alone."""


class EmbeddingsRefused(ParleyError):
    """Some of these texts get no vector, however often they are sent."""


class Embedder(Protocol):
    """A model. Vectors of models with different names do not mix."""

    @property
    def name(self) -> str:
        """What the model is called where vectors are kept."""

    async def embed(self, texts: Sequence[str], *, seconds: float) -> Vectors:
        """The vectors of `texts`, in their order, within so many seconds. Raises EmbeddingsUnavailable, EmbeddingsRefused."""

    async def aclose(self) -> None:
        """Let go of it."""
