"""Which documents are nearest to a vector: one bit a dimension finds the likely ones, eight bits rank them."""

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

_LIKELY = 1000
"""Documents that are looked at more closely."""


class NearestVectors:
    """Vectors by the numbers of their documents, which should be small: memory is taken up to the largest. A vector of n
    dimensions takes 9/8 n bytes. For one thread at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._has = BitMap()
        self._numbers: NDArray[np.int8] = np.zeros((0, size), np.int8)
        self._scales: NDArray[np.float32] = np.zeros(0, np.float32)
        self._bits: NDArray[np.uint64] = np.zeros((-(-size // 64), 0), np.uint64)

    def __len__(self) -> int:
        return len(self._has)

    def put(self, document: int, vector: NDArray[np.float32]) -> None:
        """Set a document's vector. Raises ValueError for one of another length."""
        if vector.shape != (self._size,):
            raise ValueError(f"a vector of {vector.shape} among those of {self._size} dimensions")
        if document >= len(self._scales):
            self._grow(document + 1)
        length, largest = float(np.linalg.norm(vector)), float(np.abs(vector).max())
        scale = largest / 127 if largest else 1.0
        self._numbers[document] = np.rint(vector / scale)
        self._scales[document] = scale / length if length else 0.0
        self._bits[:, document] = self._signs(vector)
        self._has.add(document)

    def drop(self, document: int) -> None:
        """Forget a document's vector, if it has one."""
        self._has.discard(document)

    def near(
        self, vector: NDArray[np.float32], among: BitMap, limit: int, floor: float
    ) -> list[tuple[int, float]]:
        """The nearest documents `among` those with a vector and their cosine similarity, the nearest first: at most
        `limit`, none under `floor`."""
        length = float(np.linalg.norm(vector))
        if vector.shape != (self._size,) or not length:
            return []
        there = among & self._has
        documents = np.frombuffer(there.to_array(), np.uint32) if there else np.zeros(0, np.uint32)
        if len(documents) > _LIKELY:
            # All are compared, for taking some out of them first would cost more; 64 dimensions at a time.
            differing = np.zeros(self._bits.shape[1], np.uint16)
            for bits, signs in zip(self._bits, self._signs(vector), strict=True):
                differing += np.bitwise_count(bits ^ signs)
            distances = differing[documents]
            documents = documents[np.argpartition(distances, _LIKELY)[:_LIKELY]]
        rows = self._numbers[documents].astype(np.float32)
        similar = (rows @ (vector / length).astype(np.float32)) * self._scales[documents]
        best = np.argsort(-similar, kind="stable")[:limit]
        return [(int(documents[at]), float(similar[at])) for at in best if similar[at] >= floor]

    def _signs(self, vector: NDArray[np.float32]) -> NDArray[np.uint64]:
        bits = np.zeros(self._bits.shape[0] * 64, np.uint8)
        bits[: self._size] = vector > 0
        return np.packbits(bits).view(np.uint64)

    def _grow(self, least: int) -> None:
        more = max(least, len(self._scales) * 5 // 4, 256) - len(self._scales)
        self._numbers = np.pad(self._numbers, ((0, more), (0, 0)))
        self._scales = np.pad(self._scales, (0, more))
        self._bits = np.pad(self._bits, ((0, 0), (0, more)))
