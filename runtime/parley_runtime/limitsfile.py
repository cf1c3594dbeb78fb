"""The agent's limits from a file that is read again when it changes, such as a ConfigMap of Kubernetes: JSON as

    {"concurrency": 4, "rate": 2.0, "burst": 10, "backlog": 5000, "weights": {"issuer|alice": 3}, "priorities": {"issuer|bob": 5}}

`priorities` are those of callers that do not choose (see `Admission.classes`); all others are `store.Limits`. What is left out
is at its default. A file that is not there changes nothing.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parley_core.errors import Unavailable
from parley_runtime.store import HIGHEST, LOWEST, Limits, Store

log = logging.getLogger(__name__)

_LOOK = 1.0
"""Seconds between two looks at the file."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    concurrency: int = 0
    rate: float = 0.0
    burst: int = 1
    backlog: int = 100_000
    weights: dict[str, float] = Field(default_factory=dict)
    priorities: dict[str, int] = Field(default_factory=dict)

    def limits(self) -> Limits:
        return Limits(self.concurrency, self.rate, self.burst, self.backlog, self.weights)


class LimitsFile:
    """Keeps the store's limits, and `classes` in place, as the file says; `base` are the classes without it.

    Each process sets the limits when its file changes, and at its start; between those, `parley limits` may change them.
    """

    def __init__(self, path: Path, store: Store, classes: dict[str, int]) -> None:
        self._path = path
        self._store = store
        self._classes = classes
        self._base = dict(classes)
        self._said = ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        known: bytes | None = None
        while True:
            found = known
            try:
                found = await asyncio.to_thread(self._path.read_bytes)
            except FileNotFoundError:
                pass  # it may come later
            except OSError as error:
                self._say(f"cannot read the limits in {self._path}: {error.strerror}")
            if found is not None and found != known and await self._take(found):
                known = found
            await asyncio.sleep(_LOOK)

    async def _take(self, text: bytes) -> bool:
        """Whether it need not be looked at again: it was taken, or cannot be."""
        try:
            told = _File.model_validate_json(text)
            limits = told.limits()
            if not all(LOWEST <= one <= HIGHEST for one in told.priorities.values()):
                raise ValueError(f"a priority is a number from {LOWEST} to {HIGHEST}")
        except (ValidationError, ValueError) as error:
            self._say(f"the limits in {self._path} cannot be used, those before stay: {error}")
            return True
        self._set(told.priorities)
        try:
            if await self._store.limits() != limits:
                await self._store.set_limits(limits)
                log.info("the limits are as %s says: %s", self._path, limits)
        except Unavailable:
            return False
        self._said = ""
        return True

    def _set(self, priorities: Mapping[str, int]) -> None:
        self._classes.clear()
        self._classes.update({**self._base, **priorities})

    def _say(self, what: str) -> None:
        if what != self._said:
            log.warning("%s", what)
            self._said = what
