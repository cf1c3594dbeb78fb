"""The queue port: how workers learn that there is work. Which work a worker gets, and its lease, the store decides.

A queue may lose, repeat, reorder or coalesce what it is told: a worker asks the store, and sweepers announce again what
nobody took.
"""

from collections.abc import Callable
from typing import Protocol

from parley_runtime.store import Work


class Queue(Protocol):
    """What accepting processes and workers tell each other."""

    async def open(self) -> None:
        """Start. Raises ConfigurationError when the address cannot be used."""

    async def close(self) -> None:
        """Stop, and let go of connections."""

    def announce(self, version: str, count: int = 1, *, priority: int = 0) -> None:
        """Say, after the commit, that `count` more entries of a version can be taken: one worker each hears it."""

    def nudge(self) -> None:
        """Have every worker of this agent look now (somebody asks to cancel; limits have changed)."""

    def attend(self, wake: Callable[[], None] | None, places: Callable[[], int]) -> None:
        """Call `wake` on the event loop when there may be something to take or to cancel; None: no more.
        `places` says how many more executions this worker would start now."""

    def begun(self, work: Work) -> None:
        """The worker took this work (a queue that leases its messages keeps one of them for as long)."""

    def ended(self, work: Work) -> None:
        """The execution of this work is over, well or not."""

    def nothing(self) -> None:
        """The worker looked and there was no more to take."""

    async def remove(self, version: str) -> None:
        """Take down what was put up for a version that has no worker and no work. (Who announces work of it again puts
        it up again.) Raises parley_core's ParleyError when that cannot be done now; then it stays."""

    def status(self) -> str:
        """ "" while all is well; else what is slower now, and why, in words for an operator."""
