"""The chart with the coding team, on a node with real containers and beside all the engines, for the tests of one module."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from charted import CHART, TRIAL
from pods import RESTRICTED
from released import PackageIndex, values

from engines.errors import EngineError
from engines.kubernetes.real import RealCluster
from engines.nacos import Nacos
from engines.ports import free_port
from engines.postgres import Postgres
from engines.rocketmq import RocketMQ
from parley_runtime.store import ENDED

Found = TypeVar("Found")
PATIENCE = 300.0
"""Seconds for anything to come about: a machine that does much else at once is no fault."""
CODE = "variants"
"""The ConfigMap with executors for the tests, and the module that it has them in."""
_VARIANTS = '''
from parley_agents.coder import Coder
from parley_core.errors import ParleyError


class Careless(Coder):
    """Fails at whatever it is asked."""

    async def work(self, work):
        raise ParleyError("this version cannot do it")
'''


@dataclass
class Installed:
    """A release of the chart. `told` are its values, beside values-trial.yaml."""

    cluster: RealCluster
    namespace: str
    folder: Path
    postgres: Postgres
    database: str
    told: dict[str, Any]
    gate: int
    """A port of this machine that the team may call, as it may the index of packages."""
    token: str = ""
    """Of the service account `default`, which the tests and their client's pods call as."""
    _urls: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *arguments: str, timeout: float = 60) -> str:
        """kubectl in the release's namespace."""
        return self.cluster.kubectl(*arguments, "-n", self.namespace, timeout=timeout)

    def get(self, *arguments: str) -> Any:
        """`kubectl get … -o json`, read."""
        return self.cluster.kubectl.json("get", *arguments, "-n", self.namespace)

    def helm(self, verb: str) -> None:
        """`helm install` or `upgrade` with the values as they are now; returns when operator and registry have the pods that they mean."""
        file = self.folder / "values.json"
        file.write_text(json.dumps(self.told))
        files = ("-n", self.namespace, "-f", str(TRIAL), "-f", str(file))
        wait = ("--wait", "--timeout", f"{PATIENCE:.0f}s")
        self.cluster.kubectl.helm(verb, "parley", str(CHART), *files, *wait, timeout=PATIENCE + 30)

    def change(self, member: str = "", rollout: Mapping[str, Any] | None = None, **settings: Any) -> None:
        """An upgrade in which this alone is told of that member of the team, and how new versions come in."""
        spec = self.told["team"]["spec"]
        if rollout is not None:
            spec["rollout"] = dict(rollout)
        if member:
            spec["members"][member] = settings
        self.helm("upgrade")

    def agent(self, name: str) -> dict[str, Any]:
        """The Agent as it is now."""
        found: dict[str, Any] = self.get("agent", name)
        return found

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A condition of an Agent that is about its spec as it is now; {} while there is none."""
        found = self.agent(name)
        generation = found["metadata"]["generation"]
        return next(
            (
                one
                for one in found.get("status", {}).get("conditions", ())
                if one["type"] == kind and one["observedGeneration"] == generation
            ),
            {},
        )

    def holds(self, name: str, kind: str) -> dict[str, Any]:
        """That condition if it is True, else {}."""
        found = self.condition(name, kind)
        return found if found.get("status") == "True" else {}

    def current(self, name: str) -> str:
        """The version that gets its new contexts."""
        return str(self.agent(name)["status"]["currentVersion"])

    def url(self, name: str) -> str:
        """Where this machine reaches its Service."""
        if name not in self._urls:
            self._urls[name] = f"http://{self.get('service', name)['spec']['clusterIP']}"
        return self._urls[name]

    def pods(self, of: str) -> dict[str, dict[str, Any]]:
        """The pods of an agent, or of a part of the chart, that are not about to go, by name."""
        found = self.get("pods", "-l", f"app.kubernetes.io/name={of}")["items"]
        return {one["metadata"]["name"]: one for one in found if "deletionTimestamp" not in one["metadata"]}

    def kill(self, pod: Mapping[str, Any]) -> None:
        """kill -9 of what runs in its containers."""
        for one in pod["status"]["containerStatuses"]:
            self.cluster.kill_container(one["containerID"])

    def back(self, pod: Mapping[str, Any]) -> bool:
        """Whether all of it has been started again since, and takes calls; or whether it is not to be there any more."""
        of = pod["metadata"]["labels"]["app.kubernetes.io/name"]
        if (found := self.pods(of).get(pod["metadata"]["name"])) is None:
            return True
        before = {one["name"]: one["restartCount"] for one in pod["status"]["containerStatuses"]}
        now = found["status"]["containerStatuses"]
        return all(one["ready"] and one["restartCount"] > before[one["name"]] for one in now)

    def rows(self, sql: str) -> list[list[str]]:
        """What a question to the agents' database answers, in rows of text."""
        said = self.postgres.execute(sql, database=self.database.rpartition("/")[2])
        return [line.split("|") for line in said.splitlines()]

    def schemas(self) -> list[str]:
        """Where agents keep their tasks."""
        found = self.rows("SELECT schemaname FROM pg_tables WHERE tablename = 'takeover' ORDER BY 1")
        return [schema for [schema] in found]

    def unended(self) -> list[str]:
        """Tasks of any agent that do not have just one end, their last event, and work that is left; both in words."""
        ends = ", ".join(str(int(one)) for one in sorted(ENDED))
        found = []
        for schema in self.schemas():
            one_end = (
                f'SELECT t.id, t.state, count(e.*) FROM "{schema}".task t LEFT JOIN "{schema}".event e '
                f"ON e.task_id = t.id AND e.state IN ({ends}) GROUP BY t.id, t.state "
                f"HAVING t.state NOT IN ({ends}) OR count(e.*) <> 1 OR max(e.generation) <> max(t.generation)"
            )
            found += [f"{schema}: {' '.join(row)}" for row in self.rows(one_end)]
            left = self.rows(f'SELECT count(*) FROM "{schema}".queue')[0][0]
            found += [f"{schema}: {left} in the queue"] if left != "0" else []
        return found

    def tell(self) -> None:
        """Print what a person would look at, for who reads the failure of a test."""
        for command in (
            ("get", "pods,agents,agentversions,agentteams,jobs,leases", "-o", "wide"),
            ("get", "agents", "-o", "jsonpath={range .items[*]}{.metadata.name} {.status}{'\\n'}{end}"),
            ("logs", "-l", "app.kubernetes.io/name=parley-operator", "--tail=60", "--prefix"),
            ("logs", "-l", "app.kubernetes.io/name=parley-registry", "--tail=30", "--prefix"),
            ("logs", "-l", "parley.dev/agent", "--tail=25", "--prefix", "--max-log-requests=30"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        ):
            try:
                said = self.kubectl(*command)
            except EngineError as error:
                said = str(error)
            print(f"$ kubectl {' '.join(command)}\n{said}")


def within(what: str, holds: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
    """What `holds` gives as soon as that is true. A cluster that does not answer is asked again."""
    ends = time.monotonic() + seconds
    while True:
        said = ""
        try:
            if found := holds():
                return found
        except EngineError as error:
            said = f": {error}"
        assert time.monotonic() < ends, f"{what}: not within {seconds:.0f} s{said}"
        time.sleep(0.5)


@contextmanager
def installed(cluster: RealCluster, nacos: Nacos, folder: Path) -> Iterator[Installed]:
    """The team, Ready."""
    namespace = f"t{secrets.token_hex(4)}"
    kubectl = cluster.kubectl
    with ExitStack() as engines:
        postgres = engines.enter_context(Postgres(settings={"max_connections": "400"}))
        rocketmq = engines.enter_context(RocketMQ(address=cluster.host, short_lived=True))
        index = engines.enter_context(PackageIndex(folder, cluster.host))
        store, registry = postgres.create_database(), postgres.create_database()
        space = nacos.create_namespace()
        kubectl("create", "namespace", namespace)
        kubectl("label", "namespace", namespace, *(f"{key}={value}" for key, value in RESTRICTED.items()))
        variants = {"metadata": {"name": CODE, "namespace": namespace}, "data": {f"{CODE}.py": _VARIANTS}}
        kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", **variants})
        environment = {"HOME": "/tmp", "UV_DEFAULT_INDEX": index.url, "PYTHONPATH": "/code"}
        gate = free_port()
        team = {
            "hosts": [{"cidr": f"{cluster.host}/32", "ports": [index.port, gate]}],
            "env": [{"name": name, "value": value} for name, value in environment.items()],
            "files": [{"configMap": CODE, "path": "/code"}],
            "members": {
                "tester": {"env": [{"name": "PARLEY_SANDBOX", "value": "none"}]},
                "orchestrator": {"replicas": 2},
                "coder": {"env": [{"name": "VARIANT", "value": "1"}]},
            },
        }
        told = values(
            cluster,
            store,
            registry,
            platform={"queue": rocketmq.url, "bus": rocketmq.url},
            nacos={
                "url": cluster.reach(nacos.address(space)).rpartition("/")[0],
                "namespaces": [space],
            },
            agents={"registryNamespace": space},
            operator={"namespaces": [namespace], "replicas": 2},
            rbac={"aggregate": False},
            team={"spec": team},
        )
        release = Installed(cluster, namespace, folder, postgres, store, told, gate)
        try:
            release.helm("install")
            release.kubectl(
                *("wait", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s", "agentteam/coding"),
                timeout=PATIENCE + 30,
            )
            token = release.kubectl("create", "token", "default", "--audience=parley", "--duration=4h")
            release.token = token.strip()
        except BaseException:
            release.tell()
            raise
        yield release
