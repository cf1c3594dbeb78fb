"""Kubernetes events (events.k8s.io/v1) about the operator's objects: told beside the work, never instead of it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from parley_operator.kube.client import Kube
from parley_operator.kube.errors import ApiError, ApiUnavailable, NotFound, NotLeading
from parley_operator.kube.kinds import EVENT
from parley_operator.metrics import EVENTS_LOST

_log = logging.getLogger(__name__)

CONTROLLER = "parley.dev/operator"
_WAITING = 1000
"""Events that wait to be told at most; what is more is lost, and counted."""
_REMEMBERED = 4096
_RATE = 20.0
"""Events told a second at most, so that a cold start is not spent on telling."""
_AGAIN = 10.0
"""Seconds in which the same event is told once."""
_NOTE = 1024
"""Bytes of what is told at most: the API server refuses more."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell of an object: `type` is Normal or Warning."""

    about: Mapping[str, Any]
    """The object, at least its apiVersion, kind and metadata."""
    type: str
    reason: str
    note: str


@dataclass(slots=True)
class _Series:
    last: float
    count: int = 0


class Events:
    """Tells events, the same one again as a series of one: its count goes up. `instance` is no other process's."""

    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance
        self._waiting: asyncio.Queue[Told] = asyncio.Queue(_WAITING)
        self._known: OrderedDict[str, _Series] = OrderedDict()

    def tell(self, event: Told) -> None:
        """Have it told soon, or lost when there are too many."""
        now = asyncio.get_running_loop().time()
        name = self._name(event)
        series = self._known.setdefault(name, _Series(now - _AGAIN))
        if now - series.last < _AGAIN:
            return
        series.last = now
        self._known.move_to_end(name)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            EVENTS_LOST.inc()

    async def run(self) -> None:
        """Tell what is to be told, until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._send(event)
            except (ApiError, ApiUnavailable, NotLeading) as error:
                EVENTS_LOST.inc()
                _log.debug("an event was not told: %s", error)
            await asyncio.sleep(1 / _RATE)

    async def _send(self, event: Told) -> None:
        about, now, name = event.about, _now(), self._name(event)
        namespace = about["metadata"]["namespace"]
        series = self._known.setdefault(name, _Series(0.0))
        series.count += 1
        if series.count > 1:
            change = {"series": {"count": series.count, "lastObservedTime": now}}
            try:
                await self._kube.patch(EVENT, namespace, name, change)
                return
            except NotFound:
                series.count = 1  # the server forgets events after an hour: it is told anew
        await self._kube.create(
            {
                "apiVersion": EVENT.api,
                "kind": EVENT.name,
                "metadata": {"namespace": namespace, "name": name},
                "eventTime": now,
                "reportingController": CONTROLLER,
                "reportingInstance": self._instance[:128],
                "action": event.reason[:128],
                "reason": event.reason[:128],
                "type": event.type,
                "note": event.note.encode()[:_NOTE].decode(errors="ignore"),
                "regarding": {
                    "apiVersion": about["apiVersion"],
                    "kind": about["kind"],
                    "namespace": namespace,
                    "name": about["metadata"]["name"],
                    "uid": about["metadata"].get("uid", ""),
                },
            }
        )

    def _name(self, event: Told) -> str:
        """The same for the same event about the same object."""
        meta = event.about["metadata"]
        told = "\n".join((self._instance, str(meta.get("uid")), event.type, event.reason, event.note))
        return f"{meta['name'][:200]}.{blake2b(told.encode(), digest_size=8).hexdigest()}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
