"""Two thousand Agents from cold: our operator makes all that belongs to each, a bare Kopf operator patches a status."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from scale import Scale
from table import Row

from cluster.postgres import Postgres
from engines.errors import EngineError
from engines.kubernetes.control_plane import ControlPlane
from engines.kubernetes.programs import programs
from engines.ports import free_port
from parley_operator.kube.access import find_access
from parley_operator.kube.client import Kube
from parley_operator.kube.informer import Informer
from parley_operator.kube.kinds import (
    AGENT,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    VERSION,
)
from parley_operator.kube.wire import Wire

_ROOT = Path(__file__).parents[3]
_BIN = _ROOT / ".venv" / "bin"
_MADE = (VERSION, DEPLOYMENT, SERVICE, SERVICE_ACCOUNT, NETWORK_POLICY, DISRUPTION_BUDGET, CONFIG_MAP)
_LIMIT = 1800.0
_RESYNC = 20.0


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    cpu: float
    """Seconds of processor time of the operator."""
    api: float
    """The same of the API server and etcd."""


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """Both on one API server, without controllers: what becomes of Deployments is not measured. Without Go, which compiles
    it, nothing is."""
    try:
        programs()
    except EngineError as error:
        return [Row(f"{scale.agents:,} Agents from cold", "≤ 2×", f"not measured: {error}")]
    with (
        tempfile.TemporaryDirectory(prefix="parley-bench-") as folder,
        ControlPlane(fake_node=False, service_bits=18) as cluster,
    ):
        cluster.kubectl("apply", "--server-side", "-f", str(_ROOT / "charts" / "parley" / "crds"))
        for namespace in ("kopf", "silent", "ours"):
            cluster.kubectl("create", "namespace", namespace)
        await asyncio.to_thread(cluster.kill, "controllers", "scheduler")
        async with Wire(find_access(str(cluster.kubeconfig)), connections=32) as wire:
            kube = Kube(wire)
            theirs = await _kopf(kube, cluster, scale.agents, Path(folder), "kopf")
            silent = await _kopf(kube, cluster, scale.agents, Path(folder), "silent", KOPF_SILENT="1")
            ours, before, after, looked = await _parley(kube, cluster, scale, Path(folder))
    ratio = ours.seconds / theirs.seconds
    return [
        Row(
            f"{scale.agents:,} Agents from cold: all objects of each, against Kopf, which only patches a status",
            "≤ 2×",
            f"{ours.seconds:.1f} s",
            f"Kopf: {theirs.seconds:.1f} s",
            f"{ratio:.2f}×",
            ratio <= 2,
        ),
        Row(
            "· CPU: operator + API server and etcd",
            "",
            f"{ours.cpu:.1f} + {ours.api:.1f} s",
            f"{theirs.cpu:.1f} + {theirs.api:.1f} s",
        ),
        Row(
            "· against Kopf with its own events turned off",
            "",
            f"{ours.seconds:.1f} s",
            f"Kopf: {silent.seconds:.1f} s",
            f"{ours.seconds / silent.seconds:.2f}×",
        ),
        Row(
            f"· memory after the first and after {looked // max(1, scale.agents)} further looks at all",
            "≤ 1.1×",
            f"{before:.0f} / {after:.0f} MB",
            "–",
            f"{after / before:.2f}×",
            after / before <= 1.1,
        ),
    ]


async def _kopf(
    kube: Kube, cluster: ControlPlane, count: int, folder: Path, namespace: str, **environment: str
) -> _Run:
    await _make(kube, namespace, count)
    command = [
        str(_BIN / "kopf"),
        "run",
        "-n",
        namespace,
        str(_ROOT / "tests" / "bench" / "kopf_operator.py"),
    ]
    async with _watching(kube, namespace) as agents:
        with _operator(
            command, folder / f"{namespace}.log", KUBECONFIG=str(cluster.kubeconfig), **environment
        ) as process:
            return await _timed(
                process, cluster, agents, count, lambda status: status.get("phase") == "Ready"
            )


async def _parley(
    kube: Kube, cluster: ControlPlane, scale: Scale, folder: Path
) -> tuple[_Run, float, float, int]:
    await _make(kube, "ours", scale.agents)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "ours", "name": "parley-platform"},
        "stringData": {"PARLEY_STORE": "postgresql://nobody@nowhere.test/db"},
    }
    await kube.apply(secret)
    health, registry = free_port(), free_port()
    told = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "PARLEY_OPERATOR_NAMESPACES": "ours",
        "PARLEY_OPERATOR_NAMESPACE": "ours",
        "PARLEY_OPERATOR_REGISTRY": f"http://127.0.0.1:{registry}",
        "PARLEY_OPERATOR_LISTEN": f"127.0.0.1:{health}",
        "PARLEY_OPERATOR_RESYNC": str(_RESYNC),
    }
    serve = ["registry", "--listen", f"127.0.0.1:{registry}", "--store", f"sqlite:///{folder}/registry.db"]
    with _operator([str(_BIN / "parley"), *serve], folder / "registry.log"):
        await _until(lambda: _answers(f"http://127.0.0.1:{registry}/healthz"))
        async with _watching(kube, "ours") as agents:
            with _operator([str(_BIN / "parley-operator")], folder / "ours.log", **told) as process:
                run = await _timed(process, cluster, agents, scale.agents, _is_reconciled)
                for kind in _MADE:
                    made = len(
                        await kube.names(kind, "ours", labels="app.kubernetes.io/managed-by=parley-operator")
                    )
                    if made != scale.agents:
                        raise RuntimeError(f"{made} {kind.plural} were made, not {scale.agents}")
                first = _looks(health)
                await _until(lambda: _looks(health) >= first + scale.agents)
                before, first = _megabytes(process), _looks(health)
                await _until(lambda: _looks(health) >= first + scale.resyncs * scale.agents)
                return run, before, _megabytes(process), int(_looks(health) - first)


def _is_reconciled(status: dict[str, Any]) -> bool:
    """All that can be done without pods: these do not come, as no controller runs."""
    return bool(status.get("observedGeneration") and (status.get("rollout") or {}).get("target"))


async def _make(kube: Kube, namespace: str, count: int) -> None:
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await kube.create(_agent(namespace, f"agent-{number}"))

    await asyncio.gather(*(some() for _ in range(16)))


def _agent(namespace: str, name: str) -> dict[str, Any]:
    skill = {"id": "hello", "name": "Hello", "description": "Says hello.", "tags": ["bench"]}
    return {
        "apiVersion": AGENT.api,
        "kind": "Agent",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "executor": "hello:Hello",
            "card": {"inline": {"description": "Says hello.", "skills": [skill]}},
            "replicas": 1,
        },
    }


@asynccontextmanager
async def _watching(kube: Kube, namespace: str) -> AsyncIterator[Informer]:
    agents = Informer(kube, AGENT, (namespace,), keep=lambda obj: {**obj, "spec": {}})
    task = asyncio.create_task(agents.run())
    try:
        await agents.wait()
        yield agents
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _timed(
    process: subprocess.Popen[bytes],
    cluster: ControlPlane,
    agents: Informer,
    count: int,
    is_done: Callable[[dict[str, Any]], bool],
) -> _Run:
    """From the start of the process until all are done. (Start-up counts: 1.5 s of ours, about 1 s of Kopf's.)"""
    begun, api = time.monotonic(), _cpu_of(cluster)
    done: set[Any] = set()
    finished = asyncio.Event()

    def changed(key: Any, obj: Any) -> None:
        if is_done(obj.get("status") or {}):
            done.add(key)
            if len(done) == count:
                finished.set()

    agents.on_change(changed)
    while not finished.is_set():
        if process.poll() is not None or time.monotonic() - begun > max(60.0, count * 0.3):
            raise RuntimeError(f"the operator has done {len(done)} of {count}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(finished.wait(), 1)
    used = psutil.Process(process.pid).cpu_times()
    return _Run(time.monotonic() - begun, used.user + used.system, _cpu_of(cluster) - api)


def _cpu_of(cluster: ControlPlane) -> float:
    total = 0.0
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if any(str(cluster.folder) in part for part in line) and (
            "etcd" in line[0] or "apiserver" in line[0]
        ):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _looks(port: int) -> float:
    found = re.findall(r"^parley_operator_reconciles_total\{.*\} (\S+)$", _text(port), re.MULTILINE)
    return sum(map(float, found))


def _text(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


async def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + _LIMIT
    while not await asyncio.to_thread(holds):
        if time.monotonic() > ends:
            raise RuntimeError("it takes too long")
        await asyncio.sleep(0.5)


def _megabytes(process: subprocess.Popen[bytes]) -> float:
    return psutil.Process(process.pid).memory_info().rss / 1e6


@contextmanager
def _operator(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if sys.exc_info()[0] is not None:
                sys.stderr.write(log.read_text()[-2000:])
