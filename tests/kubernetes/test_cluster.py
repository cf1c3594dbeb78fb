"""The cluster with a node that only pretends: the API is the real one, and pods are ready without running."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pods import deployment, pod

from engines.errors import EngineError
from engines.kubernetes.control_plane import ControlPlane
from engines.kubernetes.foreign import ForeignCluster
from engines.kubernetes.kubectl import Kubectl

pytestmark = pytest.mark.cluster

_CHART = {
    "Chart.yaml": "apiVersion: v2\nname: tried\nversion: 1.0.0\n",
    "templates/map.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tried}\ndata: {said: '{{ .Values.said }}'}\n"
    ),
}


@pytest.fixture
def pretending(cluster: ControlPlane | ForeignCluster) -> ControlPlane | ForeignCluster:
    """One where pods of any image are ready."""
    if isinstance(cluster, ForeignCluster) and not cluster.pretends:
        pytest.skip("no node of the cluster that KUBECONFIG names is kwok's")
    return cluster


def test_a_deployment_is_available_though_its_image_is_nowhere(
    pretending: ControlPlane, namespace: str
) -> None:
    kubectl = pretending.kubectl
    kubectl.apply(deployment("web", pod("nowhere.test/web:1", ["serve"]), replicas=3), "-n", namespace)
    kubectl("wait", "deployment/web", "-n", namespace, "--for=condition=Available", "--timeout=30s")
    kubectl("scale", "deployment/web", "-n", namespace, "--replicas=0")
    kubectl("wait", "pod", "-l", "app=web", "-n", namespace, "--for=delete", "--timeout=30s")


def test_helm_installs_upgrades_and_removes(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    for name, text in _CHART.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def said() -> str:
        return kubectl("get", "configmap", "tried", "-n", namespace, "-o", "jsonpath={.data.said}")

    kubectl.helm("install", "tried", str(tmp_path), "-n", namespace, "--set", "said=one")
    assert said() == "one"
    kubectl.helm("upgrade", "tried", str(tmp_path), "-n", namespace, "--set", "said=two", "--wait")
    assert said() == "two"
    kubectl.helm("uninstall", "tried", "-n", namespace, "--wait")
    with pytest.raises(EngineError, match="not found"):
        said()


@pytest.mark.timeout(240)
def test_what_was_applied_is_there_after_kill_9(own_cluster: Callable[..., ControlPlane]) -> None:
    cluster = own_cluster()
    cluster.kubectl("create", "configmap", "kept", "--from-literal=said=yes")
    url = cluster.url
    cluster.kill("etcd", "api")
    assert sorted(cluster.missing()) == ["api", "etcd"]
    with pytest.raises(EngineError):
        cluster.kubectl("get", "configmap", "kept", "--request-timeout=2s")
    cluster.start()
    assert cluster.url == url
    assert cluster.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.said}") == "yes"
    # The controllers found their API server again.
    cluster.kubectl.apply(deployment("web", pod("nowhere.test/web:1", ["serve"])))
    cluster.kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=60s", timeout=70)
