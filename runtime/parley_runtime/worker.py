"""The worker: takes work under a lease, runs the executor, and lets go."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from a2a.server.agent_execution import AgentExecutor

from parley_core.errors import Unavailable
from parley_runtime import metrics
from parley_runtime.bus import Bus
from parley_runtime.cancelling import Canceller
from parley_runtime.execution import Execution, Running
from parley_runtime.executor import Again, on_crash
from parley_runtime.payloads import Payloads
from parley_runtime.prompts import HostPrompts
from parley_runtime.queue import Queue
from parley_runtime.store import Store, Work

log = logging.getLogger(__name__)

_LOOK_AGAIN = 1.0
"""Seconds after which a worker that heard nothing looks for work (the queue's wake-ups may be lost), and for new limits."""


@dataclass(frozen=True, slots=True)
class _GivenBack:
    """Work to be given back, not before a moment of the monotonic clock; `counts`: as a failed attempt."""

    work: Work
    counts: bool = True
    at: float = 0.0


class Worker:
    """Runs at most `concurrency` executions at once in this process, under the name `worker`; takes none while `away` says why
    none can be run."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        queue: Queue,
        executor: AgentExecutor,
        *,
        worker: str,
        agent: str,
        version: str,
        concurrency: int = 64,
        lease: float = 3.0,
        max_attempts: int = 5,
        pushed: Callable[[], None] = lambda: None,
        payloads: Payloads | None = None,
        prompts: HostPrompts | None = None,
        away: Callable[[], str] = lambda: "",
    ) -> None:
        self.name = worker
        self._away = away
        self._store = store
        self._queue = queue
        self._executor = executor
        self._agent = agent
        self._version = version
        self._concurrency = self._most = concurrency
        self._lease = lease
        payloads = payloads or Payloads()
        self._canceller = Canceller(
            store, bus, executor, agent=agent, max_attempts=max_attempts, payloads=payloads
        )
        self._execution = Execution(
            store,
            bus,
            queue,
            executor,
            self._canceller,
            agent=agent,
            version=version,
            max_attempts=max_attempts,
            pushed=pushed,
            payloads=payloads,
            prompts=prompts or HostPrompts(agent, version),
        )
        self._running: dict[str, Running] = {}
        self._learn_at = self._check_at = 0.0
        self._unfinished: list[_GivenBack] = []
        self._wake = asyncio.Event()
        self._draining = False
        self._retired = False
        self._backlog = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """How many executions this worker has under way."""
        return len(self._running)

    @property
    def room(self) -> int:
        """How many more executions this worker would start now."""
        return 0 if self._draining or self._away() else max(0, self._most - len(self._running))

    @property
    def free(self) -> int:
        """How many newcomers this worker would start now: none while others wait, as far as it knows."""
        return 0 if self._backlog else self.room

    async def register(self) -> None:
        """Announce this worker so that what it takes is leased to it."""
        await self._store.register_worker(self.name, self._version, self._lease)

    async def run(self) -> None:
        """Take and run work until `drain`; the owner's TaskGroup runs this beside `Sweeper.run`."""
        self._queue.attend(self._wake.set, lambda: self.room)
        while not self._draining:
            pause = _LOOK_AGAIN
            try:
                await self._give_back()
                await self._learn()
                await self._let_lost_go()
                if self._running:
                    for cancel in await self._store.take_cancels(self.name):
                        self._start_cancel(cancel)
                pause = await self._take()
            except Unavailable as error:
                log.warning("cannot take work: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):  # wait_for may swallow a cancellation here
                    await self._wake.wait()
            self._wake.clear()

    async def _take(self) -> float:
        """Take what there is room for; seconds after which to look again."""
        while room := self.room:
            taken = await self._store.take(self.name, self._version, room)
            for work in taken.work:
                self.start(work)
            self._backlog = taken.wait > 0
            if taken.wait > 0:
                return min(taken.wait, _LOOK_AGAIN)
            if len(taken.work) < room:
                self._queue.nothing()
                return _LOOK_AGAIN
        self._backlog = True
        return _LOOK_AGAIN

    async def _learn(self) -> None:
        """See how many executions this process may run at once now."""
        if time.monotonic() >= self._learn_at:
            most = (await self._store.limits()).concurrency
            self._most = min(most, self._concurrency) if most else self._concurrency
            self._learn_at = time.monotonic() + _LOOK_AGAIN

    async def _give_back(self) -> None:
        now = time.monotonic()
        for given in [given for given in self._unfinished if given.at <= now]:
            work = given.work
            await self._store.release(work.task_id, work.epoch, work.number, counts=given.counts)
            self._unfinished.remove(given)

    async def _let_lost_go(self) -> None:
        """End executions whose lease another worker has, or may take: it ran out while this process stood still."""
        if not self._running or time.monotonic() < self._check_at:
            return
        before = list(self._running.values())
        held = await self._store.held(self.name)
        self._check_at = time.monotonic() + self._lease / 3
        for running in before:
            work = running.work
            ending = running.letting_go or (running.log is not None and running.log.fold.ended)
            task = running.task
            if ending or task is None or task.done() or held.get(work.task_id) == work.epoch:
                continue
            log.warning(
                "lost the lease of task %s (epoch %d); another worker has it, and its execution ends here",
                work.task_id,
                work.epoch,
            )
            running.handed_over = True
            if running.log is not None:
                running.log.lost = True
            task.cancel()

    def start(self, work: Work) -> None:
        """Run work that is already leased to this worker."""
        if self._retired:
            return  # accepted at the last moment; it has been given back with all else
        self._idle.clear()
        if (stale := self._running.get(work.task_id)) is not None and stale.task is not None:
            stale.task.cancel()  # this process lost the lease, and has it again under a later epoch
        if work.attempt > 1:
            metrics.TAKEOVERS.labels(self._agent).inc()
        self._queue.begun(work)
        running = self._running[work.task_id] = Running(work)
        running.task = asyncio.create_task(self._execution.run(running), name=f"task:{work.task_id}")
        running.task.add_done_callback(lambda done: self._gone(running, done))

    def hurry(self) -> None:
        """Have `drain` hand over what runs now."""
        self._idle.set()

    async def drain(self, seconds: float) -> int:
        """Take no more; wait for what runs, then hand the rest over to other workers at once: how many."""
        self._draining = True
        self._wake.set()
        self._queue.attend(None, lambda: 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        left = []
        for running in self._running.values():
            running.handed_over = True
            if running.log is not None:
                running.log.muted = True
            if running.task is not None:
                running.task.cancel()
                left.append(running.task)
        if left:
            await asyncio.wait(left, timeout=5.0)
        self._retired = True
        if freed := await self._store.retire_worker(self.name):
            self._queue.announce(self._version, freed)
        return len(left)

    def _gone(self, running: Running, done: "asyncio.Task[None]") -> None:
        self._queue.ended(running.work)
        if self._running.get(running.work.task_id) is running:
            del self._running[running.work.task_id]
        if not self._running:
            self._idle.set()
        parked = running.log is None or not running.log.fold.ended
        if done.cancelled():
            if parked and not running.handed_over:  # by the executor itself: nobody else has it, then
                log.error("the execution of task %s was cancelled; it is given back", running.work.task_id)
                self._unfinished.append(_GivenBack(running.work))
        elif isinstance(error := done.exception(), Unavailable):
            # Mostly not the message's fault but the store's: it may be tried for as long as that lasts, at a gentle pace.
            log.warning("task %s is given back: %s", running.work.task_id, error)
            counts = isinstance(error, Again) or on_crash(self._executor) == "fail"
            self._unfinished.append(_GivenBack(running.work, counts, time.monotonic() + _LOOK_AGAIN))
        elif error:
            log.error(
                "task %s could not be run to its end; it is given back", running.work.task_id, exc_info=error
            )
            self._unfinished.append(_GivenBack(running.work))
        if (
            parked or self._backlog or self._unfinished
        ):  # a message may have waited for its turn, or for a free place
            self._wake.set()

    def _start_cancel(self, cancel: Work) -> None:
        running = self._running.get(cancel.task_id)
        if running is None or running.log is None or running.task is None:
            self._undone(cancel)  # it has just let go: the request is given back and taken as work
        else:
            self._canceller.start(cancel, running.log, running.task, lambda: self._undone(cancel))

    def _undone(self, cancel: Work) -> None:
        self._unfinished.append(_GivenBack(cancel))
        self._wake.set()
