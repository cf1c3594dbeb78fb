"""The chart on a node with real containers: the page on Kubernetes does what it says, and the team does a job among all the engines."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from blocks import PROJECT, follow
from charted import CHART, TRIAL
from pods import RESTRICTED, deployment, job, pod, reached
from released import CALLS_REGISTRY, PackageIndex, shell, values

from engines.errors import EngineError
from engines.kubernetes.real import RealCluster
from engines.nacos import Nacos
from engines.postgres import Postgres
from engines.rocketmq import RocketMQ

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

_JOB = """
set -eu
mkdir /tmp/repo && cd /tmp/repo
printf 'import os\\nimport sys\\n\\n\\ndef total(items):\\n    return sum(items)\\n' >prices.py
printf 'import unittest\\n\\nfrom prices import total\\n\\n\\nclass Total(unittest.TestCase):\\n    def test_sum(self):\\n        self.assertEqual(total([1, 2]), 3)\\n' >test_prices.py
git init -q -b main && git add -A && git -c user.name=Ann -c user.email=ann@localhost commit -q -m First
parley run 'Remove unused imports' --json --out /tmp/out || echo "exit code $?" >&2
"""


@pytest.fixture
def databases(postgres: Postgres) -> Iterator[tuple[str, str]]:
    """Two empty databases: the agents' and the registry's."""
    made = postgres.create_database(), postgres.create_database()
    yield made
    for one in made:
        postgres.drop_database(one)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.timeout(900)
def test_installing_goes_as_the_page_says(
    real_cluster: RealCluster, databases: tuple[str, str], tmp_path: Path
) -> None:
    person = tmp_path / "person"
    person.mkdir()
    given = shell(real_cluster, person, values(real_cluster, *databases))
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("charts", "examples"):
        (folder / name).symlink_to(PROJECT / name)
    try:
        follow(PROJECT / "docs" / "kubernetes.md", folder, seconds=860, settings=given)
    except BaseException:
        _tell(real_cluster, "parley", tmp_path)
        raise
    finally:
        real_cluster.kubectl("delete", "namespace", "parley", "--ignore-not-found", "--wait=false")


@pytest.mark.timeout(900)
def test_the_team_does_a_job_on_all_the_engines(
    real_cluster: RealCluster,
    real_namespace: str,
    other_real_namespace: str,
    databases: tuple[str, str],
    own_rocketmq: Callable[..., RocketMQ],
    nacos: Nacos,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    kubectl = real_cluster.kubectl
    rocketmq = own_rocketmq(address=real_cluster.host)
    space = nacos.create_namespace()
    address = real_cluster.reach(nacos.address(space)).rpartition("/")[0]
    kubectl("label", "namespace", real_namespace, *(f"{key}={value}" for key, value in RESTRICTED.items()))
    index = stack.enter_context(PackageIndex(tmp_path, real_cluster.host))
    environment = {
        "HOME": "/tmp",  # as the image of deploy/Containerfile has it
        "UV_DEFAULT_INDEX": index.url,
    }
    told = values(
        real_cluster,
        *databases,
        platform={"queue": rocketmq.url, "bus": rocketmq.url},
        nacos={"url": address, "namespaces": [space]},
        agents={"registryNamespace": space},
        operator={"namespaces": [real_namespace], "replicas": 2},
        rbac={"aggregate": False},
        team={
            "spec": {
                "env": [{"name": name, "value": value} for name, value in environment.items()],
                "hosts": [{"cidr": f"{real_cluster.host}/32", "ports": [index.port]}],
            }
        },
    )
    file = tmp_path / "values.json"
    file.write_text(json.dumps(told))
    install = ("parley", str(CHART), "-n", real_namespace, "-f", str(TRIAL), "-f", str(file))
    try:
        kubectl.helm("install", *install, "--wait", "--timeout", "180s", timeout=200)
        kubectl(
            *("wait", "--for=condition=Ready", "--timeout=300s", "agentteam/coding", "-n", real_namespace),
            timeout=320,
        )
        kubectl.apply(_job(real_cluster, real_namespace, space), "-n", real_namespace)
        kubectl(
            *("wait", "--for=condition=Complete", "--timeout=300s", "job/client", "-n", real_namespace),
            timeout=320,
        )
        said = kubectl("logs", "job/client", "-n", real_namespace)
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert (events[-1]["event"], events[-1]["verified"], events[-1]["changed"]) == (
            "job-ended",
            True,
            True,
        ), said
        _is_closed(real_cluster, real_namespace, other_real_namespace, databases[0], index.port)
        kubectl.helm("uninstall", "parley", "-n", real_namespace, "--wait", "--timeout", "300s", timeout=320)
        assert kubectl("get", "agents", "-n", real_namespace, "-o", "name") == ""
    except BaseException:
        _tell(real_cluster, real_namespace, tmp_path)
        raise


def _is_closed(cluster: RealCluster, namespace: str, elsewhere: str, store: str, index: int) -> None:
    """Whom an agent of the team calls and is called by, and the registry, while the cluster enforces NetworkPolicies."""
    kubectl, host, database = cluster.kubectl, cluster.host, int(store.rpartition(":")[2].partition("/")[0])
    stranger = deployment("stranger", pod(cluster.image, ["sleep", "600"]))
    for home in (namespace, elsewhere):
        kubectl.apply(stranger, "-n", home)
        kubectl("rollout", "status", "deployment/stranger", "-n", home, "--timeout=60s", timeout=70)
    coder = f"coding-coder.{namespace}.svc.cluster.local", 80
    tester = f"coding-tester.{namespace}.svc.cluster.local", 80
    registry = f"parley-registry.{namespace}.svc.cluster.local", 8420
    inside = coder, tester, registry, (host, database), (host, index)
    # An agent may be called from its namespace, the registry by agents alone.
    assert reached(kubectl, "deployment/stranger", namespace, *inside[:3]) == [True, True, False]
    assert reached(kubectl, "deployment/stranger", elsewhere, *inside[:3]) == [False, False, False]
    # The orchestrator calls the others, and the coder nobody but the platform and what the team may reach.
    [boss], [worker] = (_running(cluster, namespace, f"coding-{one}") for one in ("orchestrator", "coder"))
    api = host, int(cluster.url.rpartition(":")[2])
    assert reached(kubectl, boss, namespace, *inside, api) == [True] * 5 + [False]
    assert reached(kubectl, worker, namespace, *inside[1:], api) == [False, True, True, True, False]


def _running(cluster: RealCluster, namespace: str, agent: str) -> list[str]:
    """Its pods."""
    return cluster.kubectl(
        "get", "pods", "-n", namespace, "-l", f"parley.dev/agent={agent}", "-o", "name"
    ).split()


def _job(cluster: RealCluster, namespace: str, space: str) -> dict[str, object]:
    """Who gives the team a job: a pod with a token, as any other in the cluster."""
    spec = pod(cluster.image, ["sh", "-c", _JOB])
    registry = f"http://parley-registry.{namespace}.svc:8420?namespace={space}"
    spec["containers"][0]["env"] = [
        {"name": "PARLEY_REGISTRY", "value": registry},
        {"name": "PARLEY_TOKEN_FILE", "value": "/var/run/secrets/parley/token"},
        {"name": "HOME", "value": "/tmp"},
    ]
    spec["containers"][0]["volumeMounts"] = [
        {"name": "token", "mountPath": "/var/run/secrets/parley"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    token = {"serviceAccountToken": {"path": "token", "audience": "parley"}}
    spec["volumes"] = [
        {"name": "token", "projected": {"sources": [token]}},
        {"name": "tmp", "emptyDir": {}},
    ]
    return job("client", spec, CALLS_REGISTRY)


def _tell(cluster: RealCluster, namespace: str, folder: Path) -> None:
    """What there was when it went wrong, for who reads the failure."""
    for command in (
        ("get", "pods,agents,agentversions,agentteams,jobs", "-o", "wide"),
        ("logs", "-l", "app.kubernetes.io/part-of=parley", "--tail=40", "--prefix"),
        ("get", "events", "--sort-by=.lastTimestamp"),
    ):
        try:
            said = cluster.kubectl(*command, "-n", namespace)
        except EngineError as error:
            said = str(error)
        print(f"$ kubectl {' '.join(command)}\n{said}")
