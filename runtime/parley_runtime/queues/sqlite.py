"""The queue of the embedded profile: this process's worker directly, other processes' by commits on the file."""

from collections.abc import Callable, Sequence

from parley_runtime.store import LoggedEvent, Work
from parley_runtime.stores.sqlite import SqliteStore


class SqliteQueue:
    """See `parley_runtime.queue.Queue`. Every commit of another process may mean work."""

    def __init__(self, store: SqliteStore) -> None:
        self._wake: Callable[[], None] | None = None
        store.watch(self._others_committed)

    async def open(self) -> None:
        """The store listens."""

    async def close(self) -> None:
        """The store is closed by who opened it."""

    def announce(self, version: str, count: int = 1, *, priority: int = 0) -> None:
        self.nudge()

    def nudge(self) -> None:
        if self._wake is not None:
            self._wake()

    def attend(self, wake: Callable[[], None] | None, places: Callable[[], int]) -> None:
        self._wake = wake

    def begun(self, work: Work) -> None:
        """Nothing is leased but in the store."""

    def ended(self, work: Work) -> None:
        """Nothing is leased but in the store."""

    def nothing(self) -> None:
        """Nothing is leased but in the store."""

    async def remove(self, version: str) -> None:
        """Nothing was put up."""

    def status(self) -> str:
        return ""

    def _others_committed(self, _: Sequence[tuple[str, LoggedEvent | None]]) -> None:
        self.nudge()
