"""The cluster with a real node: pods run this machine's interpreter, and find each other and this machine's servers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pods import RESTRICTED, deployment, job, pod, reached, service
from threadedpage import ThreadedPage

from engines.errors import EngineError
from engines.kubernetes.real import IMAGES, RealCluster
from engines.rocketmq import RocketMQ

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
# Answers with its version and the name of its pod.
_SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{sys.argv[1]} {os.environ['HOSTNAME']}".encode())
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""
_START = """
from engines.kubernetes.real import RealCluster
cluster = RealCluster().start()
print(cluster.folder.parent, cluster.machine.place.link, flush=True)
input()
"""
_ASK_DATABASE = """
import asyncio, asyncpg, sys
async def ask():
    connection = await asyncpg.connect(sys.argv[1], timeout=10)
    print(await connection.fetchval("SELECT 'answered by ' || current_user"))
asyncio.run(ask())
"""

_NAMES: dict[str, object] = {"ports": [{"protocol": one, "port": 53} for one in ("UDP", "TCP")]}


class _Nothing(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def serving(version: str, image: str = IMAGES[0]) -> dict[str, Any]:
    return pod(image, ["python", "-c", _SERVER, version], port=8000)


def asked(url: str, *, begins: str = "", deadline: float = 20) -> str:
    """What it answers, once it does, and so."""
    until = time.monotonic() + deadline
    while True:
        try:
            told = httpx.get(url, timeout=2).raise_for_status().text
        except httpx.HTTPError as error:
            told = str(error)
        else:
            if told.startswith(begins):
                return told
        assert time.monotonic() < until, told
        time.sleep(0.05)


def address(cluster: RealCluster, namespace: str, kind: str, name: str, path: str) -> str:
    return cluster.kubectl("get", kind, name, "-n", namespace, "-o", f"jsonpath={{{path}}}")


def available(cluster: RealCluster, namespace: str, name: str) -> None:
    """Return once it is."""
    try:
        cluster.kubectl(
            "rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=60s", timeout=70
        )
    except EngineError:
        pytest.fail(cluster.kubectl.story(namespace))


def test_restricted_pods_run_this_interpreter_behind_a_service(
    real_cluster: RealCluster, real_namespace: str
) -> None:
    kubectl = real_cluster.kubectl
    for label, value in RESTRICTED.items():
        kubectl("label", "namespace", real_namespace, f"{label}={value}")
    web = deployment("web", serving("one"), replicas=2)
    kubectl.apply([web, service("web", 8000)], "-n", real_namespace)
    available(real_cluster, real_namespace, "web")
    url = f"http://{address(real_cluster, real_namespace, 'service', 'web', '.spec.clusterIP')}"
    # By the Service from this machine, and by the pod's own address.
    assert asked(url).startswith("one web-")
    name = asked(url).split()[1]
    assert asked(
        f"http://{address(real_cluster, real_namespace, 'pod', name, '.status.podIP')}:8000"
    ).endswith(name)
    # By the Service's name from a pod.
    fetch = (
        "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
    )
    for known in ("web", f"web.{real_namespace}.svc.cluster.local"):
        told = kubectl("exec", name, "-n", real_namespace, "--", "python", "-c", fetch, f"http://{known}")
        assert told.startswith("one web-")
    # Another version takes over.
    kubectl.apply(deployment("web", serving("two", IMAGES[1]), replicas=2), "-n", real_namespace)
    available(real_cluster, real_namespace, "web")
    asked(url, begins="two web-")


def test_a_pod_has_the_parley_command_and_cannot_write_where_it_lies(
    real_cluster: RealCluster, real_namespace: str
) -> None:
    kubectl = real_cluster.kubectl
    check = "import parley_core, pathlib; pathlib.Path(parley_core.__file__).with_name('x').touch()"
    kubectl.apply(
        [
            job("help", pod(real_cluster.image, ["parley", "--help"])),
            job("write", pod(real_cluster.image, ["python", "-c", check])),
        ],
        "-n",
        real_namespace,
    )
    kubectl("wait", "job/help", "-n", real_namespace, "--for=condition=Complete", "--timeout=60s", timeout=70)
    assert "Usage: parley" in kubectl("logs", "job/help", "-n", real_namespace)
    kubectl("wait", "job/write", "-n", real_namespace, "--for=condition=Failed", "--timeout=60s", timeout=70)
    assert "Read-only file system" in kubectl("logs", "job/write", "-n", real_namespace)


def test_pods_reach_the_servers_of_this_machine(
    real_cluster: RealCluster, real_namespace: str, postgres_dsn: str
) -> None:
    kubectl = real_cluster.kubectl
    ask = ["python", "-c", _ASK_DATABASE, real_cluster.reach(postgres_dsn)]
    kubectl.apply(job("ask", pod(real_cluster.image, ask)), "-n", real_namespace)
    kubectl("wait", "job/ask", "-n", real_namespace, "--for=condition=Complete", "--timeout=60s", timeout=70)
    assert kubectl("logs", "job/ask", "-n", real_namespace).strip() == "answered by parley"


def test_network_policies_are_enforced(
    real_cluster: RealCluster, real_namespace: str, other_real_namespace: str
) -> None:
    kubectl, host, elsewhere = real_cluster.kubectl, real_cluster.host, other_real_namespace
    server = serving("one")
    server["containers"][0]["ports"][0]["name"] = "http"
    talker = pod(real_cluster.image, ["sleep", "600"])
    kubectl.apply([deployment("web", server), service("web", 8000)], "-n", real_namespace)
    for name in ("friend", "stranger"):
        kubectl.apply(deployment(name, talker), "-n", real_namespace)
    kubectl.apply(deployment("friend", talker), "-n", elsewhere)
    for namespace, name in (
        *((real_namespace, one) for one in ("web", "friend", "stranger")),
        (elsewhere, "friend"),
    ):
        available(real_cluster, namespace, name)
    web = address(real_cluster, real_namespace, "service", "web", ".spec.clusterIP")
    friend, stranger, foreigner = "friend", "stranger", f"friend.{elsewhere}"

    def reaches(who: str, *calls: tuple[str, int]) -> list[bool]:
        name, _, namespace = who.partition(".")
        return reached(kubectl, f"deployment/{name}", namespace or real_namespace, *calls)

    def becomes(expected: list[bool], who: str, *calls: tuple[str, int]) -> None:
        until = time.monotonic() + 20
        while (found := reaches(who, *calls)) != expected:
            assert time.monotonic() < until, f"{who} reaches {found} of {calls}"

    everybody = (friend, stranger, foreigner)
    with ThreadedPage(host, _Nothing) as page, ThreadedPage(host, _Nothing) as other:
        outside = ((host, page.port), (host, other.port))
        assert [reaches(who, (web, 80), *outside) for who in everybody] == [[True, True, True]] * 3

        kubectl.apply(
            [
                policy(
                    "web",
                    {"app": "web"},
                    ingress=[{"from": [pods({"app": "friend"})], "ports": [{"port": "http"}]}],
                ),
                policy("closed", {"app": "stranger"}, egress=[_NAMES]),
                policy(
                    "friend",
                    {"app": "friend"},
                    egress=[
                        _NAMES,
                        {"to": [pods({"app": "web"})], "ports": [{"port": 8000}]},
                        {"to": [{"ipBlock": {"cidr": f"{host}/32"}}], "ports": [{"port": page.port}]},
                    ],
                ),
            ],
            "-n",
            real_namespace,
        )
        becomes([False], stranger, (web, 80))
        # A name is found, by who may ask for names; the machine around a node reaches its pods, as a node does.
        assert reaches(friend, ("web", 80), *outside) == [True, True, False]
        assert reaches(stranger, ("web", 80), *outside) == [False, False, False]
        assert reaches(foreigner, (web, 80), *outside) == [False, True, True]
        assert asked(f"http://{web}").startswith("one web-")

        # An address taken out of a block, and a namespace that is named.
        block = {"cidr": f"{host.rpartition('.')[0]}.0/24", "except": [f"{host}/32"]}
        there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": elsewhere}}}
        kubectl.apply(
            [
                policy("web", {"app": "web"}, ingress=[{"from": [there]}]),
                policy("friend", {"app": "friend"}, egress=[{"to": [{"ipBlock": block}]}]),
            ],
            "-n",
            real_namespace,
        )
        becomes([True], foreigner, (web, 80))
        assert reaches(friend, (web, 80), *outside) == [False, False, False]

        kubectl("delete", "networkpolicy", "--all", "-n", real_namespace)
        becomes([True, True, True], stranger, (web, 80), *outside)


def policy(name: str, of: dict[str, str], **rules: list[dict[str, object]]) -> dict[str, object]:
    """A NetworkPolicy for the pods with those labels, of the directions that are given."""
    kinds = [one.capitalize() for one in rules]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": of}, "policyTypes": kinds, **rules},
    }


def pods(labels: dict[str, str]) -> dict[str, object]:
    """Those of the policy's namespace."""
    return {"podSelector": {"matchLabels": labels}}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_hosts_in_pods_share_postgres_rocketmq_and_nacos_of_this_machine(
    real_cluster: RealCluster,
    real_namespace: str,
    postgres_dsn: str,
    nacos_url: str,
    own_rocketmq: Callable[..., RocketMQ],
    tmp_path: Path,
) -> None:
    kubectl = real_cluster.kubectl
    kubectl.apply(service("hello", 9999), "-n", real_namespace)
    ip = address(real_cluster, real_namespace, "service", "hello", ".spec.clusterIP")
    rocketmq = own_rocketmq(address=real_cluster.host)
    command = ["parley", "host", "hello:Hello", "--card", "card.json", "--listen", "0.0.0.0:9999"]
    hello = pod(real_cluster.image, command, port=9999, ready="/readyz")
    settings = {
        "PARLEY_PUBLIC_URL": f"http://{ip}",
        "PARLEY_STORE": real_cluster.reach(postgres_dsn),
        "PARLEY_QUEUE": rocketmq.url,
        "PARLEY_BUS": rocketmq.url,
        "PARLEY_REGISTRY": real_cluster.reach(nacos_url),
        # Service accounts may call it: the cluster issues their tokens.
        "PARLEY_AUTH_ISSUER": "https://kubernetes.default.svc",
        "PARLEY_AUTH_AUDIENCE": "parley",
        "PARLEY_AUTH_JWKS": "/keys/jwks.json",
    }
    keys = {"jwks.json": kubectl("get", "--raw", "/openid/v1/jwks")}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keys"}, "data": keys},
        "-n",
        real_namespace,
    )
    hello["volumes"].append({"name": "keys", "configMap": {"name": "keys"}})
    hello["containers"][0]["volumeMounts"].append({"name": "keys", "mountPath": "/keys"})
    hello["containers"][0]["env"] = [{"name": name, "value": value} for name, value in settings.items()]
    hello["containers"][0]["workingDir"] = str(REPOSITORY / "examples" / "hello")
    kubectl.apply(deployment("hello", hello, replicas=2), "-n", real_namespace)
    available(real_cluster, real_namespace, "hello")
    token = tmp_path / "token"
    token.write_text(kubectl("create", "token", "default", "--audience=parley", "-n", real_namespace))
    # From this machine: found in Nacos as it is here, asked by the Service.
    told = subprocess.run(
        [
            Path(sys.executable).with_name("parley"),
            "send",
            "hello",
            "Ada",
            "--registry",
            nacos_url,
            "--token-file",
            str(token),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.stdout.strip() == "Hello, Ada!", told.stderr


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_pods_go_on_without_api_server_and_kubelet_and_come_back_with_them(
    own_real_cluster: Callable[..., RealCluster],
) -> None:
    cluster = own_real_cluster()
    cluster.kubectl.apply([deployment("web", serving("one")), service("web", 8000)])
    available(cluster, "default", "web")
    url = f"http://{address(cluster, 'default', 'service', 'web', '.spec.clusterIP')}"
    before = asked(url)
    cluster.kill("api", "kubelet", "proxy")
    assert asked(url) == before
    cluster.start()
    assert asked(url) == before
    cluster.kubectl("delete", "pod", before.split()[1], "--grace-period=0", "--force")
    available(cluster, "default", "web")
    name = cluster.kubectl("get", "pod", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}")
    assert name != before.split()[1]
    asked(url, begins=f"one {name}")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nothing_is_left_when_its_user_is_killed() -> None:
    user = subprocess.Popen(
        [sys.executable, "-c", _START],
        env={**os.environ, "PYTHONPATH": str(DEPLOY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout
    folder, link = user.stdout.readline().split()
    user.send_signal(signal.SIGKILL)
    user.wait()

    def left() -> list[str]:
        there = [path for path in (folder, f"/sys/class/net/{link}") if Path(path).exists()]
        return there + [
            str(process)
            for process in psutil.process_iter(["cmdline"])
            if folder in " ".join(process.info["cmdline"] or [])
        ]

    until = time.monotonic() + 30
    while left() and time.monotonic() < until:
        time.sleep(0.1)
    assert left() == []
