"""Operators as processes, a registry, and what the tests ask of the cluster. Pods of the node that pretends run nothing: what an
agent's hosts would do, publish themselves and tell figures, FakeHosts does for them."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from a2a.types import AgentCard
from aiohttp import web
from google.protobuf.json_format import ParseDict

from engines.ports import free_port
from parley_operator.kube.access import find_access
from parley_operator.kube.client import Kube
from parley_operator.kube.errors import ApiUnavailable, NotFound
from parley_operator.kube.kinds import AGENT, SERVICE, VERSION, Kind
from parley_operator.kube.wire import Wire
from parley_registry.client import (
    Instance,
    RegistryClient,
    RegistryUnavailable,
    Rollout,
    UnknownAgent,
    VersionFigures,
    figures_json,
)

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv" / "bin"
CRDS = ROOT / "charts" / "parley" / "crds"
Found = TypeVar("Found")


class Processes:
    """Programs that this test has started; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **environment})
        self._running.append(process)
        return process

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()

    def close(self) -> None:
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()


class OperatorProcess:
    """`parley-operator` as it is started in a pod."""

    def __init__(self, processes: Processes, kubeconfig: Path, name: str, **options: str) -> None:
        self._processes = processes
        self._name = name
        self._port = free_port()
        self._environment = {
            "KUBECONFIG": str(kubeconfig),
            "PARLEY_OPERATOR_LISTEN": f"127.0.0.1:{self._port}",
            "PARLEY_OPERATOR_IDENTITY": name,
            "PARLEY_OPERATOR_ADDRESSES": "ips",
            **{f"PARLEY_OPERATOR_{key.upper()}": value for key, value in options.items()},
        }
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        return self._processes.start(self._name, str(BIN / "parley-operator"), **self._environment)

    @property
    def log(self) -> str:
        return self._processes.log(self._name)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def start(self) -> None:
        self._process = self._started()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    @property
    def leads(self) -> bool:
        return self.metric("parley_operator_leader") == 1

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return sum(map(float, lines))


class FakeHosts:
    """What the agents' pods would do, were they real: it publishes each version whose pods are ready, and tells figures."""

    def __init__(self, kube: Kube, registry_url: str) -> None:
        self._kube = kube
        self._registry_url = registry_url
        self._published: set[tuple[str, str, str]] = set()
        self.figures: dict[tuple[str, str], dict[str, VersionFigures]] = defaultdict(dict)
        """By namespace and agent, then by version: what is told besides that nothing is going on."""
        self.broken = False
        """Whether they answer 500."""
        self.url = ""

    @asynccontextmanager
    async def serving(self, namespace: str) -> AsyncIterator["FakeHosts"]:
        app = web.Application()
        app.router.add_get("/{namespace}/{name}/parley/v1/versions", self._versions)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{{namespace}}/{{name}}"
        publishing = asyncio.create_task(self._publish(namespace))
        try:
            yield self
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])
            await runner.cleanup()

    async def _versions(self, request: web.Request) -> web.Response:
        if self.broken:
            return web.Response(status=500)
        key = request.match_info["namespace"], request.match_info["name"]
        known = {version for namespace, name, version in self._published if (namespace, name) == key}
        told = {version: VersionFigures(version, workers=1) for version in known} | self.figures[key]
        return web.json_response({"since": 60, "versions": [figures_json(one) for one in told.values()]})

    async def _publish(self, namespace: str) -> None:
        async with RegistryClient(self._registry_url, namespace=namespace) as registry:
            while True:
                with contextlib.suppress(ApiUnavailable, NotFound, RegistryUnavailable):
                    for one in await everything(self._kube, VERSION, namespace):
                        status, spec = one.get("status") or {}, one["spec"]
                        key = (namespace, spec["agent"], spec["version"])
                        if status.get("ready") and key not in self._published:
                            service = await self._kube.get(SERVICE, namespace, spec["agent"])
                            url = f"http://{service['spec']['clusterIP']}"
                            await registry.publish(
                                _card(spec, url), instance=Instance(one["metadata"]["name"], url)
                            )
                            self._published.add(key)
                await asyncio.sleep(0.3)


class World:
    """One namespace of a cluster with a registry, and operators for it."""

    def __init__(
        self, kube: Kube, namespace: str, kubeconfig: Path, processes: Processes, folder: Path
    ) -> None:
        self.kube = kube
        self.namespace = namespace
        self.kubeconfig = kubeconfig
        self._address = f"127.0.0.1:{free_port()}"
        self.registry_url = f"http://{self._address}"
        self.registry = RegistryClient(self.registry_url, namespace=namespace)
        self.hosts = FakeHosts(kube, self.registry_url)
        self._processes = processes
        self._folder = folder

    def start_registry(self) -> None:
        store = f"sqlite:///{self._folder}/registry.db"
        command = ("registry", "--listen", self._address, "--store", store)
        self._running = self._processes.start("registry", str(BIN / "parley"), *command)

    def stop_registry(self) -> None:
        """kill -9."""
        self._running.kill()
        self._running.wait()

    def operator(
        self, name: str = "operator", kubeconfig: Path | None = None, **options: str
    ) -> OperatorProcess:
        """Start one, for this namespace alone, its lease in it too."""
        told = {
            "namespaces": self.namespace,
            "namespace": self.namespace,
            "registry": self.registry_url,
            "host_address": self.hosts.url,
            "resync": "5",
            **options,
        }
        return OperatorProcess(self._processes, kubeconfig or self.kubeconfig, name, **told)

    async def apply(self, obj: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """As kubectl apply would."""
        meta = {"namespace": self.namespace, **obj["metadata"]}
        return await self.kube.apply({**obj, "metadata": meta}, manager="test", force=True, **options)

    async def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        try:
            return await self.kube.get(kind, self.namespace, name)
        except NotFound:
            return None

    async def all(self, kind: Kind) -> list[dict[str, Any]]:
        return await everything(self.kube, kind, self.namespace)

    async def condition(self, name: str, kind: str, of: Kind = AGENT) -> dict[str, Any]:
        """A condition of an object; {} when it has none."""
        found = await self.get(of, name) or {}
        conditions = (found.get("status") or {}).get("conditions") or ()
        return next((one for one in conditions if one["type"] == kind), {})

    async def holds(self, name: str, kind: str, *, generation: int | None = None) -> bool:
        """Whether a condition of an Agent is True (and about that generation of it)."""
        found = await self.condition(name, kind)
        return found.get("status") == "True" and generation in (None, found.get("observedGeneration"))

    async def table(self, name: str) -> Rollout:
        try:
            return await self.registry.rollout(name)
        except (UnknownAgent, RegistryUnavailable):
            return Rollout(self.namespace, name)


@asynccontextmanager
async def world(kubeconfig: Path, namespace: str, folder: Path) -> AsyncIterator[World]:
    """A registry of its own, and the CRDs in the cluster."""
    processes = Processes(folder)
    try:
        async with Wire(find_access(str(kubeconfig))) as wire:
            made = World(Kube(wire), namespace, kubeconfig, processes, folder)
            made.start_registry()
            await made.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "parley-platform"},
                    "stringData": {"PARLEY_STORE": "postgresql://nobody@nowhere.test/db"},
                }
            )
            async with made.hosts.serving(namespace), made.registry:
                await until(lambda: _answers(made.registry), 120, what="the registry does not start")
                yield made
    finally:
        processes.close()


async def _answers(registry: RegistryClient) -> bool:
    try:
        await registry.rollout("nobody")
    except RegistryUnavailable:
        return False
    return True


def agent(name: str, **spec: Any) -> dict[str, Any]:
    """A small Agent."""
    return {
        "apiVersion": AGENT.api,
        "kind": "Agent",
        "metadata": {"name": name},
        "spec": {
            "executor": "hello:Hello",
            "card": {
                "inline": {
                    "description": "Says hello.",
                    "skills": [
                        {"id": "hello", "name": "Hello", "description": "Says hello.", "tags": ["test"]}
                    ],
                }
            },
            **spec,
        },
    }


async def until(
    holds: Callable[[], Awaitable[Found]], seconds: float = 120.0, *, what: str = "it does not come to that"
) -> Found:
    """What `holds` gives as soon as that is true."""
    ends = time.monotonic() + seconds
    while True:
        found = await holds()
        if found:
            return found
        assert time.monotonic() < ends, what
        await asyncio.sleep(0.2)


async def everything(kube: Kube, kind: Kind, namespace: str) -> list[dict[str, Any]]:
    """All objects of a kind in a namespace."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page, after, _ = await kube.page(kind, namespace, after=after)
        found += page
        if not after:
            return found


def _card(spec: Mapping[str, Any], url: str) -> AgentCard:
    told = {
        **spec["card"],
        "version": spec["version"],
        "supportedInterfaces": [
            {"url": f"{url}/a2a/jsonrpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ],
    }
    return ParseDict(json.loads(json.dumps(told)), AgentCard(), ignore_unknown_fields=True)
