"""The store's rules as a state machine: whatever workers and callers do in whatever order, on two stores of one
database, the store does what a few dictionaries would."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from parley_runtime.store import (
    ENDED,
    Append,
    ContextMismatch,
    MessageIdReused,
    NewEvent,
    NewMessage,
    StepRecord,
    Store,
    TaskEnded,
    UnknownTask,
    Work,
)
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.sqlite import SqliteStore

pytestmark = pytest.mark.processes

T = TypeVar("T")
SUBMITTED, WORKING, COMPLETED, CANCELED, INPUT = 1, 2, 3, 5, 6
OWNERS, CONTEXTS, VERSIONS = ("ann", "bob"), ("", "c1", "c2"), ("1", "2")
LEASE = 3600.0
"""So long that nothing runs out by itself: leases are ended by `Database.expire`."""


class Database(Protocol):
    """Two stores on one database that is empty at the beginning, and the event loop that they live in."""

    stores: tuple[Store, Store]
    runner: asyncio.Runner

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def expire(self, worker: str) -> None:
        """Let a worker's lease have run out, as if its process hung."""


class Sqlite:
    """Two stores on one new file."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory(prefix="store-machine-")
        self._path = Path(self._folder.name) / "s.db"
        self.stores = (SqliteStore(f"sqlite:///{self._path}"), SqliteStore(f"sqlite:///{self._path}"))

    async def open(self) -> None:
        for store in self.stores:
            await store.open()

    async def close(self) -> None:
        for store in self.stores:
            await store.close()
        self._folder.cleanup()

    async def expire(self, worker: str) -> None:
        connection = sqlite3.connect(self._path, timeout=10)
        with connection:
            connection.execute("UPDATE worker SET lease_until = 0 WHERE id = ?", (worker,))
        connection.close()


class Postgres:
    """Two stores on one database, which is emptied for each run (to make the tables anew would take long)."""

    def __init__(self, dsn: str) -> None:
        self.runner = asyncio.Runner()
        self.stores = (PostgresStore(dsn, "machine"), PostgresStore(dsn, "machine"))
        self._opened = False

    async def open(self) -> None:
        if not self._opened:
            self._opened = True
            for store in self.stores:
                await store.open()
        await self._execute(f"TRUNCATE {', '.join(_TABLES)}")

    async def close(self) -> None:
        """Nothing: the next run goes on with these stores."""

    async def end(self) -> None:
        for store in self.stores:
            await store.close()

    async def expire(self, worker: str) -> None:
        await self._execute("UPDATE worker SET lease_until = 0 WHERE id = $1", worker)

    async def _execute(self, statement: str, *values: str) -> None:
        async with self.stores[0].pool.session() as connection:
            await connection.execute(statement, *values)


_TABLES = ("task", "event", "snapshot", "work", "queue", "pin", "worker", "takeover", "step", "depth")


@dataclass
class FakeEntry:
    """A work entry of the model. `worker` is "" while it waits; `order` counts acceptances."""

    number: int
    kind: str
    priority: int
    order: int
    worker: str = ""
    attempt: int = 0


@dataclass
class FakeTask:
    """A task of the model: what the store must say of it."""

    owner: str
    context: str
    version: str
    generation: int = 0
    state: int = 0
    epoch: int = 0
    visible: bool = False
    entries: list[FakeEntry] = field(default_factory=list)
    steps: dict[tuple[int, str], bytes] = field(default_factory=dict)
    last: int = 0
    """The highest number that a message's entry had."""

    @property
    def head(self) -> FakeEntry | None:
        """What can be taken: nothing while something runs."""
        if not self.entries or any(entry.worker for entry in self.entries):
            return None
        return min(self.entries, key=lambda entry: entry.number)

    def entry(self, number: int) -> FakeEntry | None:
        return next((entry for entry in self.entries if entry.number == number), None)


@dataclass
class FakeWorker:
    """A worker of the model, on one of the two stores."""

    store: int
    version: str
    live: bool = True


class StoreMachine(RuleBasedStateMachine):
    """Rules are calls; each compares the answer with the model's (`Fake…` is a fake for checking)."""

    database_of: Callable[[], Database] = Sqlite

    tasks = Bundle("tasks")
    workers = Bundle("workers")
    messages = Bundle("messages")
    held = Bundle("held")
    """Leases as they were given: some have been lost since."""

    def __init__(self) -> None:
        super().__init__()
        self.database: Database = type(self).database_of()
        self.known: dict[str, FakeTask] = {}
        self.staff: dict[str, FakeWorker] = {}
        self.accepted: dict[tuple[str, str], tuple[NewMessage, int, int]] = {}
        self.pins: dict[tuple[str, str], str] = {}
        self.count = 0

    def await_(self, work: Awaitable[T] | Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            async with asyncio.timeout(30):
                return await (work() if callable(work) else work)

        return self.database.runner.run(run())

    def one_more(self) -> int:
        self.count += 1
        return self.count

    @initialize(target=workers)
    def begin(self) -> str:
        self.await_(self.database.open())
        return self._hire(0, "1")

    def teardown(self) -> None:
        self.await_(self.database.close())

    def store(self, n: int) -> Store:
        return self.database.stores[n]

    def of(self, worker: str) -> Store:
        return self.store(self.staff[worker].store)

    # -- workers

    @rule(target=workers, store=st.integers(0, 1), version=st.sampled_from(VERSIONS))
    def a_worker_comes(self, store: int, version: str) -> str:
        return self._hire(store, version)

    def _hire(self, store: int, version: str) -> str:
        name = f"w{self.one_more()}"
        self.await_(self.store(store).register_worker(name, version, LEASE))
        self.staff[name] = FakeWorker(store, version)
        return name

    @rule(worker=consumes(workers))
    def a_worker_retires(self, worker: str) -> None:
        freed = self.await_(self.of(worker).retire_worker(worker))
        tasks = self._free(worker, counts=False)
        assert len(set(tasks)) <= freed <= len(tasks)  # a request to cancel may run beside its task's message
        self.staff[worker].live = False

    @rule(worker=consumes(workers))
    def a_worker_hangs(self, worker: str) -> None:
        self.await_(self.database.expire(worker))
        self.staff[worker].live = False

    @rule(store=st.integers(0, 1))
    def somebody_sweeps(self, store: int) -> None:
        freed = self.await_(self.store(store).sweep())
        lost = [name for name, worker in self.staff.items() if not worker.live]
        tasks = [task for name in lost for task in self._free(name, counts=True)]
        assert len(set(tasks)) <= freed <= len(tasks)
        for task in set(tasks):
            self.known[task].epoch += 1  # fenced at once, and not only when the next worker takes it

    def _free(self, worker: str, *, counts: bool) -> list[str]:
        """Give back what a worker holds; the task of each entry."""
        freed = []
        for name, task in self.known.items():
            for entry in task.entries:
                if entry.worker == worker:
                    entry.worker = ""
                    entry.attempt -= not counts
                    freed.append(name)
        return freed

    # -- accepting

    @rule(
        target=messages,
        store=st.integers(0, 1),
        owner=st.sampled_from(OWNERS),
        context=st.sampled_from(CONTEXTS),
        version=st.sampled_from(VERSIONS),
        shown=st.booleans(),
        priority=st.sampled_from((3, 3, 3, 0, 7)),
    )
    def a_message_begins_a_task(
        self, store: int, owner: str, context: str, version: str, shown: bool, priority: int
    ) -> Any:
        return self._begin(store, owner, context, version, shown, priority, "")

    @rule(target=held, worker=workers, owner=st.sampled_from(OWNERS), shown=st.booleans())
    def a_message_is_taken_as_it_is_accepted(self, worker: str, owner: str, shown: bool) -> Any:
        hired = self.staff[worker]
        others = any(task.head for task in self.known.values())
        message = self._begin(hired.store, owner, "", hired.version, shown, 3, worker)
        work = self.latest.work
        if work is None:
            assert others, "it was free, nothing else waited, and it was not taken"
            return multiple()
        self._check_lease(message.task_id, self.known[message.task_id], work, worker)
        return work

    def _begin(
        self, store: int, owner: str, context: str, version: str, shown: bool, priority: int, worker: str
    ) -> NewMessage:
        number = self.one_more()
        task = f"t{number}"
        message = NewMessage(
            owner, f"m{number}", b"d", task, False, context, f"new-{number}", version, b"r", "",
            NewEvent(b'{"n":1}', SUBMITTED, 1.0) if shown else None, b"snapshot" if shown else b"",
            priority=priority,
        )  # fmt: skip
        self.latest = self.await_(lambda: self.store(store).accept(message, take_as=worker))
        named = context or f"new-{number}"
        assert (self.latest.task_id, self.latest.context_id) == (task, named)
        assert (self.latest.generation, self.latest.duplicate) == (int(shown), False)
        pinned = self.pins.setdefault((owner, named), version)
        made = FakeTask(owner, named, pinned, int(shown), SUBMITTED if shown else 0, visible=shown, last=1)
        made.entries.append(FakeEntry(1, "message", priority, number))
        self.known[task] = made
        self.accepted[owner, message.message_id] = (message, int(shown), 1)
        return message

    @rule(
        target=messages,
        store=st.integers(0, 1),
        message=messages,
        owner=st.sampled_from(OWNERS),
        context=st.sampled_from(("", "same", "same", "other")),
    )
    def a_message_continues_a_task(self, store: int, message: NewMessage, owner: str, context: str) -> Any:
        return self._continue(store, message, owner, context, "") or multiple()

    @rule(target=held, worker=workers, message=messages)
    def a_follow_up_is_taken_as_it_is_accepted(self, worker: str, message: NewMessage) -> Any:
        task = self.known[message.task_id]
        idle = not task.entries
        others = any(task.head for task in self.known.values())
        sent = self._continue(self.staff[worker].store, message, task.owner, "", worker)
        if sent is None or (work := self.latest.work) is None:
            may_be_left = sent is None or not idle or others or task.version != self.staff[worker].version
            assert may_be_left, "the task was idle, nothing else waited, and its message was not taken"
            return multiple()
        assert idle, "taken while other work of the task waited or ran"
        self._check_lease(message.task_id, task, work, worker)
        return work

    def _continue(
        self, store: int, earlier: NewMessage, owner: str, context: str, worker: str
    ) -> NewMessage | None:
        task = self.known[earlier.task_id]
        number = self.one_more()
        named = {"": "", "same": task.context, "other": "elsewhere"}[context]
        version = self.staff[worker].version if worker else "1"
        message = NewMessage(owner, f"m{number}", b"d", earlier.task_id, True, named, "", version, b"r", "")
        refusal: type[Exception] | None = None
        if owner != task.owner:
            refusal = UnknownTask
        elif context == "other":
            refusal = ContextMismatch
        elif task.state in ENDED:
            refusal = TaskEnded
        if refusal is not None:
            with pytest.raises(refusal):
                self.await_(lambda: self.store(store).accept(message, take_as=worker))
            return None
        self.latest = self.await_(lambda: self.store(store).accept(message, take_as=worker))
        task.last += 1
        assert (self.latest.number, self.latest.generation) == (task.last, task.generation)
        assert (self.latest.context_id, self.latest.duplicate) == (task.context, False)
        task.entries.append(FakeEntry(task.last, "message", 3, number))
        self.accepted[owner, message.message_id] = (message, task.generation, task.last)
        return message

    @rule(store=st.integers(0, 1), message=messages, same=st.booleans())
    def a_message_is_repeated(self, store: int, message: NewMessage, same: bool) -> None:
        _, generation, number = self.accepted[message.owner, message.message_id]
        again = NewMessage(
            message.owner, message.message_id, b"d" if same else b"other", message.task_id, message.follow_up,
            message.context_id, message.new_context_id, "1", b"r", "",
        )  # fmt: skip
        if not same:
            with pytest.raises(MessageIdReused):
                self.await_(lambda: self.store(store).accept(again))
            return
        accepted = self.await_(lambda: self.store(store).accept(again))
        assert accepted.duplicate
        assert accepted.work is None
        told = (accepted.task_id, accepted.context_id, accepted.generation, accepted.number)
        assert told == (message.task_id, self.known[message.task_id].context, generation, number)

    @rule(store=st.integers(0, 1), message=messages, owner=st.sampled_from(OWNERS))
    def somebody_asks_to_cancel(self, store: int, message: NewMessage, owner: str) -> None:
        task = self.known[message.task_id]
        asking = self.store(store).request_cancel(message.task_id, owner, b"cancel", "")
        if owner != task.owner or task.state in ENDED:
            with pytest.raises(UnknownTask if owner != task.owner else TaskEnded):
                self.await_(asking)
            return
        pending = any(entry.kind == "cancel" and not entry.worker for entry in task.entries)
        assert self.await_(asking) is not pending
        if not pending:
            number = min([0, *(entry.number for entry in task.entries)]) - 1
            task.entries.append(FakeEntry(number, "cancel", 9, self.one_more()))

    # -- working

    @rule(target=held, worker=workers, limit=st.integers(1, 4))
    def a_worker_takes(self, worker: str, limit: int) -> Any:
        version = self.staff[worker].version
        free, orphans = self._takeable(version)
        taken = self.await_(self.of(worker).take(worker, version, limit)).work
        mine = [work for work in taken if work.version == version]
        others = len(taken) - len(mine)
        assert len(mine) == min(limit - others, len(free)), f"{free} could be taken"
        assert others <= orphans
        assert others or free or not orphans, "work of a version that nobody hosts was left"
        for work in taken:
            self._check_lease(work.task_id, self.known[work.task_id], work, worker)
        assert sorted(self._place(work) for work in mine) == free[: len(mine)]
        return multiple(*taken)

    def _place(self, work: Work) -> tuple[int, int]:
        return (0, -9) if work.kind == "cancel" else (1, -work.priority)

    def _takeable(self, version: str) -> tuple[list[tuple[int, int]], int]:
        """What there is of a version, cancels first and then by priority; and how much of versions that nobody hosts
        (a worker may take that, too, and does when it finds nothing else)."""
        hosted = {worker.version for worker in self.staff.values() if worker.live}
        heads = [(head, task.version) for task in self.known.values() if (head := task.head)]
        mine = sorted(
            (0 if head.kind == "cancel" else 1, -head.priority) for head, wanted in heads if wanted == version
        )
        return mine, sum(wanted not in hosted and wanted != version for _, wanted in heads)

    def _check_lease(self, name: str, task: FakeTask, work: Work, worker: str) -> None:
        head = task.head
        assert head is not None, f"{name} was given out while it ran"
        head.worker = worker
        head.attempt += 1
        task.epoch += 1
        told = (work.number, work.kind, work.epoch, work.attempt, work.version, work.owner, work.context_id)
        assert told == (
            head.number, head.kind, task.epoch, head.attempt, task.version, task.owner, task.context,
        )  # fmt: skip

    @rule(target=held, worker=workers)
    def a_worker_looks_for_cancels(self, worker: str) -> Any:
        expected = {
            name: entry
            for name, task in self.known.items()
            for entry in task.entries
            if entry.kind == "cancel" and not entry.worker
            if any(other.worker == worker for other in task.entries)
        }
        found = self.await_(self.of(worker).take_cancels(worker))
        assert {work.task_id for work in found} == set(expected)
        for work in found:
            entry = expected[work.task_id]
            entry.worker, entry.attempt = worker, entry.attempt + 1
            assert (work.number, work.kind, work.attempt) == (entry.number, "cancel", entry.attempt)
            assert work.epoch == self.known[work.task_id].epoch
        return multiple(*found)

    @rule(
        store=st.integers(0, 1),
        work=held,
        states=st.lists(st.sampled_from((WORKING, WORKING, INPUT)), min_size=1, max_size=3),
        end=st.sampled_from((0, 0, 0, COMPLETED, CANCELED)),
        skip=st.sampled_from((0, 0, 0, 0, 1, -1)),
    )
    def a_worker_appends(self, store: int, work: Work, states: list[int], end: int, skip: int) -> None:
        task = self.known[work.task_id]
        first = task.generation + 1 + skip
        if end:
            states = [*states, end]
        events = [NewEvent(b'{"n":%d}' % n, state, float(n)) for n, state in enumerate(states, first)]
        append = Append(work.task_id, work.epoch, work.number, first, events, ends=bool(end))
        logged = self.await_(lambda: self.store(store).append(append)).events
        if work.epoch != task.epoch or skip or task.state in ENDED:
            assert logged == ()
            return
        assert [event.generation for event in logged] == list(range(first, first + len(states)))
        task.generation += len(states)
        task.state, task.visible = states[-1], True
        if end:
            task.entries.clear()

    @rule(store=st.integers(0, 1), work=held, refusal=st.sampled_from(("", "no")))
    def a_worker_finishes(self, store: int, work: Work, refusal: str) -> None:
        task = self.known[work.task_id]
        parked = self.await_(self.store(store).finish(work.task_id, work.epoch, work.number, refusal=refusal))
        assert parked.done == (work.epoch == task.epoch)
        if not parked.done:
            return
        first = task.entry(work.number) is not None
        task.entries = [entry for entry in task.entries if entry.number != work.number]
        if task.head and first:
            assert parked.waiting
        if not task.entries:
            assert not parked.waiting

    @rule(store=st.integers(0, 1), work=held, counts=st.booleans())
    def a_worker_gives_back(self, store: int, work: Work, counts: bool) -> None:
        task = self.known[work.task_id]
        self.await_(self.store(store).release(work.task_id, work.epoch, work.number, counts=counts))
        entry = task.entry(work.number)
        if work.epoch == task.epoch and entry is not None and entry.worker:
            entry.worker = ""
            entry.attempt -= not counts

    @rule(store=st.integers(0, 1), work=held, name=st.sampled_from(("a", "b")), result=st.binary(max_size=4))
    def a_worker_keeps_a_step(self, store: int, work: Work, name: str, result: bytes) -> None:
        task = self.known[work.task_id]
        step = StepRecord(name, result, 1.0, 2.0)
        kept = self.await_(self.store(store).record_step(work.task_id, work.epoch, work.number, step))
        assert kept == (work.epoch == task.epoch)
        if kept:
            task.steps.setdefault((work.number, name), result)
        found = self.await_(self.store(1 - store).steps(work.task_id, work.number))
        mine = {step: result for (number, step), result in task.steps.items() if number == work.number}
        assert {step.name: step.result for step in found} == mine

    # -- reading

    @rule(store=st.integers(0, 1), message=messages, owner=st.sampled_from(OWNERS))
    def a_task_is_its_owners(self, store: int, message: NewMessage, owner: str) -> None:
        stored = self.await_(self.store(store).load(message.task_id, owner))
        assert (stored is not None) == (owner == self.known[message.task_id].owner)

    @precondition(lambda self: self.known)
    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        self.await_(self._compare(self.store(self.count % 2)))

    async def _compare(self, store: Store) -> None:
        for name, task in self.known.items():
            stored = await store.load(name)
            assert stored is not None
            told = (stored.owner, stored.context_id, stored.version, stored.generation, stored.state)
            assert told == (task.owner, task.context, task.version, task.generation, task.state)
            assert (stored.visible, stored.busy) == (task.visible, bool(task.entries))
            log = await store.events(name, 0)
            assert [event.generation for event in log] == list(range(1, task.generation + 1))
            assert stored.snapshot_generation + len(stored.tail) == task.generation
        state = await store.queue_state()
        waiting = running = behind = beside = 0
        for task in self.known.values():
            held = sum(bool(entry.worker) for entry in task.entries)
            waiting, running = waiting + bool(task.head), running + bool(held)
            beside += max(0, held - 1)
            behind += len(task.entries) - held - bool(task.head)
        # What waits behind other work of its own task, or runs beside it, may be counted or not.
        assert waiting <= state.waiting <= waiting + behind
        assert running <= state.running <= running + beside


def prove(database_of: Callable[[], Database], examples: int) -> None:
    """Run the machine on as many random histories."""

    class Machine(StoreMachine):
        pass

    Machine.database_of = database_of
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(300)
def test_the_sqlite_store_keeps_its_rules() -> None:
    prove(Sqlite, 60)


@pytest.mark.timeout(300)
def test_the_postgres_store_keeps_its_rules(postgres_dsn: str) -> None:
    database = Postgres(postgres_dsn)
    try:
        prove(lambda: database, 25)
    finally:
        database.runner.run(database.end())
        database.runner.close()
