"""Who leads: one of several operators, by a Lease (coordination.k8s.io) that it renews.

Nobody's clock is compared with another's. Who waits counts from when it *saw* the lease renewed; who leads counts from
before it *sent* the renewal. So the leader stops writing (`left` is 0) well before another may begin.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from parley_operator.kube.client import Kube
from parley_operator.kube.errors import AlreadyExists, KubeError, NotFound, Stale
from parley_operator.kube.kinds import LEASE
from parley_operator.metrics import LEADER

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. From the death of a leader until another leads: at most `duration` + `retry`, and what calls take."""

    duration: float = 10.0
    """A lease not renewed for so long may be taken."""
    margin: float = 2.5
    """So long before, who leads has stopped writing."""
    retry: float = 1.5
    """Between two renewals, or two looks at the lease."""

    @property
    def patience(self) -> float:
        """How long one renewal may take: the next one has to come in time, too. Who has a slower API server needs a longer
        duration."""
        return self.duration - self.margin - self.retry


class Leadership:
    """This process's part in who leads. `identity` is to be no other process's, ever."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        times: Times = Times(),
    ) -> None:
        self.identity = identity
        self.leads = asyncio.Event()
        """Set while this process leads."""
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._times = times or Times()
        self._until = 0.0
        self._seen: tuple[str, float] = ("", 0.0)
        self._lease: dict[str, Any] | None = None

    def left(self) -> float:
        """For how many more seconds writing is safe; 0 for who does not lead."""
        return max(0.0, self._until - time.monotonic()) if self.leads.is_set() else 0.0

    async def run(self, lost: Callable[[], None]) -> None:
        """Try to lead, and to go on leading, until cancelled; `lost` is called when leading ends."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self.left() if self.leads.is_set() else None):
                        await self._round()
                except KubeError as error:
                    _log.warning("the lease %s: %s", self._name, error)
                except TimeoutError:
                    _log.warning(
                        "the lease %s: no answer within %.1f s; who leads has to have one by then (--lease makes it longer)",
                        self._name,
                        self._times.patience,
                    )
                if self.leads.is_set() and self.left() <= 0:
                    self._end(lost)
                await asyncio.sleep(self._times.retry if self.leads.is_set() else self._times.retry * 0.7)
        finally:
            if self.leads.is_set():
                self._end(lost)

    async def release(self) -> None:
        """Give the lease away, so that another need not wait for it to run out. Call when `run` has ended."""
        lease = self._lease
        if lease is None or lease["spec"].get("holderIdentity") != self.identity:
            return
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        with suppress(KubeError):
            await self._kube.replace(lease)
        self._lease = None

    async def _round(self) -> None:
        """Renew what we have, by what we know of it; else look whether it is to be had. Raises KubeError, TimeoutError."""
        known = self._lease if self.leads.is_set() else None
        if known is not None:
            with suppress(Stale):  # somebody has changed it: perhaps it is not ours any more
                await self._write(self._kube.replace, self._taken(known))
                return
        try:
            async with asyncio.timeout(self._times.duration):
                lease = await self._kube.get(LEASE, self._namespace, self._name)
        except NotFound:
            lease = None
        with suppress(AlreadyExists, Stale):  # another was faster
            if lease is None:
                await self._write(self._kube.create, self._fresh())
            elif self._mine(lease) or self._free(lease):
                await self._write(self._kube.replace, self._taken(lease))
            else:
                self._lease = None
                if self.leads.is_set():
                    self._until = 0.0  # another has it: whatever we thought, it is over

    async def _write(
        self, call: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], lease: dict[str, Any]
    ) -> None:
        """Have the lease be ours; it counts from before that was sent, however long it took."""
        started = time.monotonic()
        async with asyncio.timeout(self._times.patience):
            self._lease = await call(lease)
        self._until = started + self._times.duration - self._times.margin
        if not self.leads.is_set():
            _log.info("%s leads", self.identity)
            LEADER.set(1)
            self.leads.set()

    def _mine(self, lease: dict[str, Any]) -> bool:
        return (lease.get("spec") or {}).get("holderIdentity") == self.identity

    def _free(self, lease: dict[str, Any]) -> bool:
        """Whether nobody has it, or who has it was seen for the last time long enough ago."""
        spec = lease.get("spec") or {}
        if not spec.get("holderIdentity"):
            return True
        now = time.monotonic()
        if self._seen[0] != lease["metadata"]["resourceVersion"]:
            self._seen = (lease["metadata"]["resourceVersion"], now)
        return now - self._seen[1] > float(spec.get("leaseDurationSeconds") or self._times.duration)

    def _fresh(self) -> dict[str, Any]:
        lease = {
            "apiVersion": LEASE.api,
            "kind": LEASE.name,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": {},
        }
        return self._taken(lease)

    def _taken(self, lease: dict[str, Any]) -> dict[str, Any]:
        spec = dict(lease.get("spec") or {})
        if spec.get("holderIdentity") != self.identity:
            transitions = int(spec.get("leaseTransitions") or 0) + (1 if spec else 0)
            spec |= {"acquireTime": _now(), "leaseTransitions": transitions}
        spec |= {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self._times.duration),
            "renewTime": _now(),
        }
        return {**lease, "apiVersion": LEASE.api, "kind": LEASE.name, "spec": spec}

    def _end(self, lost: Callable[[], None]) -> None:
        _log.warning("%s leads no longer", self.identity)
        self.leads.clear()
        self._until = 0.0
        LEADER.set(0)
        lost()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
