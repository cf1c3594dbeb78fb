"""The queue of the small cluster: the store keeps the work, NOTIFY says that there is some."""

from collections.abc import Callable

from parley_runtime.store import Work
from parley_runtime.stores.postgres.listener import Listener, Notifier


class PostgresQueue:
    """See `parley_runtime.queue.Queue`. Listener and notifier are opened and closed by whom they are shared with."""

    def __init__(self, listener: Listener, notifier: Notifier, key: str) -> None:
        self._listener = listener
        self._notifier = notifier
        self._channel = f"{key}_work"
        self._wake: Callable[[], None] | None = None

    async def open(self) -> None:
        """Nothing of its own to open."""

    async def close(self) -> None:
        self._listener.off(self._channel)

    def announce(self, version: str, count: int = 1, *, priority: int = 0) -> None:
        self.nudge()

    def nudge(self) -> None:
        self._notifier.tell(self._channel, [""])
        if self._wake is not None:
            self._wake()

    def attend(self, wake: Callable[[], None] | None, places: Callable[[], int]) -> None:
        self._wake = wake
        if wake is None:
            self._listener.off(self._channel)
        else:
            self._listener.on(self._channel, self._heard)

    def begun(self, work: Work) -> None:
        """Nothing is leased but in the store."""

    def ended(self, work: Work) -> None:
        """Nothing is leased but in the store."""

    def nothing(self) -> None:
        """Nothing is leased but in the store."""

    async def remove(self, version: str) -> None:
        """Nothing was put up."""

    def status(self) -> str:
        return (
            "" if self._listener.connected else "notifications are not heard; work is looked for every second"
        )

    def _heard(self, _: str | None) -> None:
        if self._wake is not None:
            self._wake()
