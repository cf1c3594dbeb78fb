"""The clusters that a campaign can be run on: two fronts and two workers on each profile's engines.

Each replica reaches each server by a link of its own, so that one alone can be cut off.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from campaign.cluster import Cluster, Server
from campaign.history import History
from engines.links import Link
from engines.postgres import Postgres
from engines.rocketmq import Part, RocketMQ

NAMES = ("f1", "f2", "w1", "w2")
Profile = Callable[[Path, History], AbstractAsyncContextManager[Cluster]]


@asynccontextmanager
async def sqlite(home: Path, history: History) -> AsyncIterator[Cluster]:
    """All on one file."""
    store = f"sqlite:///{home}/agent.db"
    async with _running(
        Cluster(home, history, store, NAMES, {name: {"store": store} for name in NAMES})
    ) as cluster:
        yield cluster


@asynccontextmanager
async def postgres(home: Path, history: History) -> AsyncIterator[Cluster]:
    """PostgreSQL as store, queue and bus."""
    with Postgres() as server:
        links = {f"{name}-postgres": _link(server.port) for name in NAMES}
        for link in links.values():
            await link.start()
        settings = {name: {"store": _by(links[f"{name}-postgres"], server.dsn)} for name in NAMES}
        cluster = Cluster(home, history, server.dsn, NAMES, settings, links, {"postgres": server})
        async with _running(cluster) as running:
            yield running


@asynccontextmanager
async def rocketmq(home: Path, history: History) -> AsyncIterator[Cluster]:
    """PostgreSQL as store, RocketMQ as queue and bus."""
    with ExitStack() as engines:
        server, broker = engines.enter_context(Postgres()), engines.enter_context(RocketMQ())
        links: dict[str, Link] = {}
        settings = {}
        for name in NAMES:
            links[f"{name}-postgres"] = stored = _link(server.port)
            links[f"{name}-rocketmq"] = queued = _link(int(broker.proxy.rpartition(":")[2]))
            await stored.start()
            await queued.start()
            url = _by(queued, broker.url)
            settings[name] = {"store": _by(stored, server.dsn), "queue": url, "bus": url}
        servers: dict[str, Server] = {
            "postgres": server,
            "broker": RocketPart(broker, "broker"),
            "proxy": RocketPart(broker, "proxy"),
        }
        cluster = Cluster(home, history, server.dsn, NAMES, settings, links, servers)
        async with _running(cluster) as running:
            yield running


PROFILES: Mapping[str, Profile] = {"sqlite": sqlite, "postgres": postgres, "rocketmq": rocketmq}


@dataclass(frozen=True)
class RocketPart:
    """One of RocketMQ's processes as a server of its own."""

    whole: RocketMQ
    part: Part

    def kill(self) -> None:
        """kill -9."""
        self.whole.kill(self.part)

    def start(self) -> None:
        """Start it again."""
        self.whole.start(self.part)


@asynccontextmanager
async def _running(cluster: Cluster) -> AsyncIterator[Cluster]:
    try:
        yield cluster
    finally:
        await cluster.close()


def _link(port: int) -> Link:
    return Link(lambda: ("127.0.0.1", port))


def _by(link: Link, url: str) -> str:
    """The address of a server, by way of a link."""
    parts = urlsplit(url)
    assert parts.port is not None
    return url.replace(f":{parts.port}", f":{link.port}", 1)
