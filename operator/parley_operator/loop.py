"""Looks at every Agent and every team, again and again: observe, plan, carry out. One that fails keeps no other waiting."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Protocol

from pydantic import ValidationError

from parley_core.errors import Unavailable
from parley_operator.caches import Caches, Work
from parley_operator.degraded import Problem
from parley_operator.kube.errors import ApiError, ApiFailed, ApiUnavailable, NotLeading
from parley_operator.metrics import DEGRADED, RECONCILE_SECONDS, RECONCILES
from parley_operator.queue import WorkQueue
from parley_operator.refusals import Again

_log = logging.getLogger(__name__)


class Reconciler(Protocol):
    """What is done with what is to be looked at, for one kind of it."""

    async def reconcile(self, work: Work) -> tuple[Problem | None, float | None]:
        """Do what is to be done now. What could not be done, and in how many seconds to look again at the latest."""

    async def tell(self, work: Work, problem: Problem) -> None:
        """Tell of a problem in the object's status, and leave the rest of it as it is."""


class Loop:
    """Workers over a queue. While `run` does not run, what is added is not kept: it begins with everything there is."""

    def __init__(self, *, workers: int = 16, resync: float = 300.0) -> None:
        self.reconcilers: dict[str, Reconciler] = {}
        """By kind; all there before it runs."""
        self._workers = workers
        self._resync = resync
        self._queue = WorkQueue[Work]()
        self._running = False
        self._broken: set[Work] = set()
        self._said: dict[Work, str] = {}
        """What was wrong the last time, as it was logged: it is not said again while it is the same."""

    def add(self, work: Work) -> None:
        """Have it looked at."""
        if self._running:
            self._queue.add(work)

    async def run(self, everything: Callable[[], list[Work]]) -> None:
        """Look at everything, then at what is added, and at everything again every `resync` seconds, until cancelled."""
        self._running = True
        try:
            for work in everything():
                self._queue.add(work)
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
                while True:
                    await asyncio.sleep(self._resync)
                    for work in everything():
                        self._queue.add_later(work, random.uniform(0, self._resync))
        finally:
            self._running = False
            self._queue.clear()

    async def _work(self) -> None:
        while True:
            work = await self._queue.take()
            started = time.monotonic()
            try:
                outcome = await self._one(work)
            finally:
                self._queue.done(work)
            RECONCILES.labels(work.kind, outcome).inc()
            RECONCILE_SECONDS.labels(work.kind).observe(time.monotonic() - started)

    async def _one(self, work: Work) -> str:
        try:
            problem, again = await self.reconcilers[work.kind].reconcile(work)
        except Again:
            self._queue.failed(work)  # soon, but not for ever as soon: a cache may be behind for long
            return "again"
        except NotLeading:
            return "not leading"
        except ApiFailed as error:
            return await self._failed(work, Problem("ApiFailed", str(error)[:1000]))
        except (ApiUnavailable, Unavailable) as error:
            pause = self._queue.failed(work)
            self._say(work, f"{error}; again in {pause:.1f} s and then ever more seldom", of=str(error))
            return "unavailable"
        except ValidationError as error:
            # The API server lets nothing in that the models refuse, unless the two are of different releases.
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]
            )
            message = f"the operator cannot read it ({faults}); are the CRDs of the operator's release?"
            return await self._failed(work, Problem("Unreadable", message))
        except ApiError as error:
            return await self._failed(work, Problem("ApiRefused", f"{error.reason}: {error}"[:1000]))
        except Exception as error:  # noqa: BLE001 - one that fails is told of, and keeps no other waiting
            _log.exception("%s %s/%s cannot be looked at", *work)
            self._broken.add(work)
            DEGRADED.set(len(self._broken))
            said = f"the operator failed at it, which is a fault of the operator: {type(error).__name__}: {error}"
            return await self._failed(work, Problem("OperatorFault", said[:1000]))
        self._broken.discard(work)
        DEGRADED.set(len(self._broken))
        if problem is not None:
            self._queue.failed(work)
            self._say(work, f"{problem.reason}: {problem.message}")
            if again is not None:
                self._queue.add_later(work, again)
            return "refused"
        self._queue.succeeded(work)
        self._said.pop(work, None)
        if again is not None:
            self._queue.add_later(work, again)
        return "done"

    async def _failed(self, work: Work, problem: Problem) -> str:
        self._queue.failed(work)
        self._say(work, f"{problem.reason}: {problem.message}")
        try:
            await self.reconcilers[work.kind].tell(work, problem)
        except (ApiUnavailable, ApiError, NotLeading, Again) as error:
            _log.info("%s %s/%s: its status cannot tell so: %s", *work, error)
        return "failed"

    def _say(self, work: Work, text: str, *, of: str = "") -> None:
        said = of or text
        level = logging.DEBUG if self._said.get(work) == said else logging.WARNING
        self._said[work] = said
        _log.log(level, "%s %s/%s: %s", *work, text)


def everything(caches: Caches) -> list[Work]:
    """All that is to be looked at."""
    return [
        *(Work("AgentTeam", *key) for key in caches.teams),
        *(Work("Agent", *key) for key in caches.agents),
    ]
