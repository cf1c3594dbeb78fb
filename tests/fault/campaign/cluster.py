"""What a campaign hurts: replicas that come back under the same name and address, links, and servers."""

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from replicas import Fleet, Replica

from campaign.history import History
from campaign.plan import LEASE, Fault
from engines.links import Link
from engines.ports import free_port


class Server(Protocol):
    """A server of an engine: PostgreSQL, a broker, a proxy."""

    def kill(self) -> None:
        """kill -9 all its processes."""

    def start(self) -> None:
        """Start it again on its data, at the same address, and return when it answers."""


@dataclass
class Cluster:
    """Replicas `f…` (fronts) and `w…` (workers) on the engines of a profile.

    `settings(name)` of a replica name its engines, by way of the links that are its own. `servers` can be killed.
    """

    home: Path
    history: History
    store: str
    """Address of the store, without a link between."""
    names: tuple[str, ...]
    settings: Mapping[str, Mapping[str, str]]
    links: Mapping[str, Link] = field(default_factory=dict)
    servers: Mapping[str, Server] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._fleet = Fleet(self.home, "campaign.agent:Campaigner")
        self._ports = {name: free_port() for name in self.names}
        self._replicas: dict[str, Replica] = {}
        everything = (*self.names, *self.links, *self.servers)
        self._one_at_a_time = {name: asyncio.Lock() for name in everything}

    @property
    def effects(self) -> list[str]:
        """Lines of the effects that executors had outside Parley."""
        return self._fleet.effects

    @property
    def fronts(self) -> list[str]:
        """Addresses of the fronts, up or not."""
        return [f"http://127.0.0.1:{self._ports[name]}" for name in self.names if name.startswith("f")]

    async def start(self) -> None:
        """Start all replicas and wait until they are ready."""
        for name in self.names:
            self._spawn(name)
        for name in self.names:
            await asyncio.to_thread(self._replicas[name].wait_ready)

    def _spawn(self, name: str) -> None:
        role = "front" if name.startswith("f") else "worker"
        settings = {
            "lease": str(LEASE),
            "max_attempts": "1000",
            "drain": "2",
            "push_allow": "127.0.0.0/8",
            **self.settings.get(name, {}),
        }
        environment = {"PARLEY_CAMPAIGN_NAME": name}
        self._replicas[name] = self._fleet.spawn(role, self._ports[name], environment, **settings)

    async def close(self) -> None:
        """End everything that it started."""
        for link in self.links.values():
            await link.set("whole")
        self._fleet.close()
        for link in self.links.values():
            await link.close()

    async def suffer(self, fault: Fault) -> None:
        """Do a fault and undo it; faults of one part come one after the other."""
        async with self._one_at_a_time[fault.whom]:
            self.history.note("nemesis", fault.what, whom=fault.whom, lasts=round(fault.lasts, 2))
            await self._do(fault)
            self.history.note("nemesis", "healed", whom=fault.whom, of=fault.what)
            if (
                fault.whom in self._replicas
            ):  # the next fault is done to a replica that works, not to one that starts
                await self._ready_or_over(fault.whom)

    async def _ready_or_over(self, name: str, seconds: float = 60) -> None:
        deadline = self.history.now + seconds
        while self.history.now < deadline:
            if await asyncio.to_thread(self._replicas[name].ready):
                return
            await asyncio.sleep(0.1)

    async def _do(self, fault: Fault) -> None:
        match fault.what:
            case "kill":
                await asyncio.to_thread(self._replicas[fault.whom].kill)
                await asyncio.sleep(fault.lasts)
                self._spawn(fault.whom)
            case "hang":
                process = self._replicas[fault.whom].process
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(fault.lasts)
                process.send_signal(signal.SIGCONT)
            case "term":
                code = await asyncio.to_thread(self._replicas[fault.whom].stop, 60)
                self.history.note("nemesis", "ended", whom=fault.whom, code=code)
                await asyncio.sleep(fault.lasts)
                self._spawn(fault.whom)
            case "cut" | "black" | "slow":
                await self.links[fault.whom].set(fault.what)
                await asyncio.sleep(fault.lasts)
                await self.links[fault.whom].set("whole")
            case "kill-server":
                await asyncio.to_thread(self.servers[fault.whom].kill)
                await asyncio.sleep(fault.lasts)
                await asyncio.to_thread(self.servers[fault.whom].start)
            case _:
                raise ValueError(f"there is no fault {fault.what!r}")

    async def all_ready(self, seconds: float) -> str:
        """Wait until every replica is ready again; what is not, in words ("" when all are)."""
        deadline = self.history.now + seconds
        while True:
            missing = []
            for name, replica in self._replicas.items():
                if replica.process.poll() is not None:
                    return f"{name} ended by itself with {replica.process.returncode}; see {replica.log}"
                if not await asyncio.to_thread(replica.ready):
                    missing.append(name)
            if not missing:
                return ""
            if self.history.now > deadline:
                return f"{missing} not ready {seconds:.0f} s after the last fault"
            await asyncio.sleep(0.2)
