"""Vectors that were made once, in a SQLite file, so that a restart makes none again."""

import asyncio
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from parley_core.database import connect
from parley_registry.searching.embedder import Embedder, EmbeddingsUnavailable, Vectors

_MOST = 500_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  fingerprint BLOB NOT NULL UNIQUE,
  vector BLOB NOT NULL
)"""
_ADD = "INSERT OR REPLACE INTO vectors (fingerprint, vector) VALUES (?, ?)"
_FORGET = "DELETE FROM vectors WHERE number <= (SELECT max(number) FROM vectors) - ?"


class KeptEmbedder:
    """An embedder whose vectors are kept by model and text, the newest `most` of them.

    Raises ConfigurationError for a file that cannot be used.
    """

    def __init__(self, embedder: Embedder, path: Path, *, most: int = _MOST) -> None:
        self._embedder, self._most = embedder, most
        self._db = connect(path)
        self._db.execute(_SCHEMA)
        self.name = embedder.name

    async def embed(self, texts: Sequence[str], *, seconds: float) -> Vectors:
        """See `Embedder.embed`."""
        prints = [hashlib.blake2b(f"{self.name}\n{text}".encode(), digest_size=16).digest() for text in texts]
        try:
            known = await asyncio.to_thread(self._read, prints)
            missing = {one: text for one, text in zip(prints, texts, strict=True) if one not in known}
            if missing:
                made = await self._embedder.embed(list(missing.values()), seconds=seconds)
                fresh = dict(zip(missing, made.astype(np.float16), strict=True))
                await asyncio.to_thread(self._write, fresh)
                known |= fresh
        except sqlite3.Error as error:
            raise EmbeddingsUnavailable(f"the file of kept vectors cannot be used: {error}") from error
        if len({len(vector) for vector in known.values()}) > 1:
            raise EmbeddingsUnavailable(
                "the vectors kept and those made now are not of one length; delete the file of kept vectors"
            )
        return np.array([known[one] for one in prints], np.float32)

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""
        await self._embedder.aclose()
        self._db.close()

    def _read(self, prints: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        asked = ",".join("?" * len(prints))
        rows = self._db.execute(
            f"SELECT fingerprint, vector FROM vectors WHERE fingerprint IN ({asked})", prints
        )
        return {one: np.frombuffer(vector, np.float16) for one, vector in rows}

    def _write(self, made: dict[bytes, np.ndarray]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(_ADD, [(one, vector.tobytes()) for one, vector in made.items()])
            self._db.execute(_FORGET, (self._most,))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
