"""The clusters that a campaign can be run on: two fronts and two workers on each profile's engines."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from campaign.cluster import Cluster
from campaign.history import History

NAMES = ("f1", "f2", "w1", "w2")
Profile = Callable[[Path, History], AbstractAsyncContextManager[Cluster]]


@asynccontextmanager
async def sqlite(home: Path, history: History) -> AsyncIterator[Cluster]:
    """All on one file."""
    store = f"sqlite:///{home}/agent.db"
    cluster = Cluster(home, history, store, NAMES, {name: {"store": store} for name in NAMES})
    try:
        yield cluster
    finally:
        await cluster.close()


PROFILES: Mapping[str, Profile] = {"sqlite": sqlite}
