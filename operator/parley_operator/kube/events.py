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
from parley_operator.kube.errors import AlreadyExists, ApiError, ApiUnavailable, NotFound, NotLeading
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


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell of an object: `type` is Normal or Warning."""

    about: Mapping[str, Any]
    """The object, at least its apiVersion, kind and metadata."""
    type: str
    reason: str
    note: str


class Events:
    """Tells events, the same one again as a series of one: its count goes up."""

    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance
        self._waiting: asyncio.Queue[Told] = asyncio.Queue(_WAITING)
        self._last: OrderedDict[str, float] = OrderedDict()

    def tell(self, event: Told) -> None:
        """Have it told soon, or lost when there are too many."""
        now = asyncio.get_running_loop().time()
        name = _name(event)
        if now - self._last.get(name, -_AGAIN) < _AGAIN:
            return
        self._last[name] = now
        self._last.move_to_end(name)
        while len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
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
        about = event.about
        meta = about["metadata"]
        name, namespace, now = _name(event), meta["namespace"], _now()
        try:
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
                    "note": event.note[:_NOTE],
                    "regarding": {
                        "apiVersion": about["apiVersion"],
                        "kind": about["kind"],
                        "namespace": namespace,
                        "name": meta["name"],
                        "uid": meta.get("uid", ""),
                    },
                }
            )
        except AlreadyExists:
            try:
                known = await self._kube.get(EVENT, namespace, name)
            except NotFound:
                return  # it has just expired: the next time it is told anew
            count = int((known.get("series") or {}).get("count") or 1) + 1
            await self._kube.patch(
                EVENT, namespace, name, {"series": {"count": count, "lastObservedTime": now}}
            )


def _name(event: Told) -> str:
    """The same for the same event about the same object, whichever operator tells it."""
    meta = event.about["metadata"]
    told = "\n".join((str(meta.get("uid")), event.type, event.reason, event.note))
    return f"{meta['name'][:200]}.{blake2b(told.encode(), digest_size=8).hexdigest()}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
