"""The bus of the embedded profile: this process's readers directly, other processes' by their commits on the file."""

from collections import defaultdict
from collections.abc import Sequence

from parley_runtime.bus import Wake
from parley_runtime.buses.readers import Ear, Readers
from parley_runtime.store import LoggedEvent
from parley_runtime.stores.sqlite import SqliteStore


class SqliteBus:
    """See `parley_runtime.bus.Bus`."""

    def __init__(self, store: SqliteStore) -> None:
        self._readers = Readers()
        store.watch(self._others_committed, lambda: bool(self._readers))

    async def open(self) -> None:
        """The store listens."""

    async def close(self) -> None:
        """The store is closed by who opened it."""

    def publish(self, task_id: str, context_id: str, wake: Wake) -> None:
        self._readers.tell(task_id, wake)

    def subscribe(self, task_id: str, context_id: str) -> Ear:
        return self._readers.add(task_id)

    def status(self) -> str:
        return ""

    def _others_committed(self, events: Sequence[tuple[str, LoggedEvent | None]]) -> None:
        batches: dict[str, list[LoggedEvent]] = defaultdict(list)
        for task_id, event in events:
            if task_id in self._readers and event is not None:
                batches[task_id].append(event)
        for task_id, batch in batches.items():
            self._readers.tell(task_id, Wake(batch))
        for task_id in {task_id for task_id, event in events if event is None}:
            self._readers.tell(task_id, Wake())
