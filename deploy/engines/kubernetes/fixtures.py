"""pytest fixtures: a Kubernetes of this run, or the one that KUBECONFIG names."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engines.errors import EngineError
from engines.keeper import Scratch
from engines.kubernetes.control_plane import ControlPlane
from engines.kubernetes.foreign import ForeignCluster
from engines.kubernetes.kubectl import Kubectl
from engines.kubernetes.real import RealCluster

Cluster = TypeVar("Cluster", bound=ControlPlane)
REQUIRED = "PARLEY_KUBERNETES_REQUIRED"


@pytest.fixture(scope="session")
def cluster(run_folder: Scratch) -> ControlPlane | ForeignCluster:
    """The cluster that KUBECONFIG names, else the run's own, where pods of any image are ready at once without running.
    For all who leave it running: `namespace` gives each test its own."""
    return ForeignCluster.of_environment() or _shared(ControlPlane, run_folder)


@pytest.fixture(scope="session")
def real_cluster(run_folder: Scratch) -> RealCluster:
    """The run's own with a real node, for all who leave it running: `real_namespace` gives each test its own.
    KUBECONFIG changes nothing: its pods run what is on this machine."""
    return _shared(RealCluster, run_folder)


@pytest.fixture
def own_cluster() -> Iterator[Callable[..., ControlPlane]]:
    """Start one whose parts this test may kill: `own_cluster()`, then `.kill("api")`, `.start("api")`."""
    with ExitStack() as clusters:
        yield lambda **options: _entered(clusters, ControlPlane, options)


@pytest.fixture
def own_real_cluster() -> Iterator[Callable[..., RealCluster]]:
    """The same with a real node: `own_real_cluster()`, then `.kill("kubelet")`."""
    with ExitStack() as clusters:
        yield lambda **options: _entered(clusters, RealCluster, options)


@pytest.fixture(scope="module")
def module_real_cluster() -> Iterator[RealCluster]:
    """One with a real node for the tests of a module, who may kill parts of it, and start them again before they end."""
    with ExitStack() as clusters:
        yield _entered(clusters, RealCluster, {})


@pytest.fixture
def kubeconfig(cluster: ControlPlane | ForeignCluster) -> Path:
    """Of who may do all in `cluster`."""
    return cluster.kubeconfig


@pytest.fixture
def kubectl(cluster: ControlPlane | ForeignCluster) -> Kubectl:
    """kubectl and helm on `cluster`."""
    return cluster.kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """An empty namespace of `cluster` for this test alone."""
    with _namespace(kubectl) as name:
        yield name


@pytest.fixture
def real_namespace(real_cluster: RealCluster) -> Iterator[str]:
    """An empty namespace of `real_cluster` for this test alone."""
    with _namespace(real_cluster.kubectl) as name:
        yield name


@pytest.fixture
def other_real_namespace(real_cluster: RealCluster) -> Iterator[str]:
    """A second one."""
    with _namespace(real_cluster.kubectl) as name:
        yield name


def _shared(kind: type[Cluster], run: Scratch) -> Cluster:
    _fetched(kind)
    with run.locked():
        return kind(run.folder).start()


def _entered(clusters: ExitStack, kind: type[Cluster], options: Mapping[str, Any]) -> Cluster:
    _fetched(kind)
    cluster = kind(**options)
    clusters.enter_context(cluster)
    return cluster


def _fetched(kind: type[ControlPlane]) -> None:
    """A machine that cannot have a cluster skips what needs one; but not CI, which has to."""
    try:
        kind.fetch()
    except EngineError as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(str(error))


@contextmanager
def _namespace(kubectl: Kubectl) -> Iterator[str]:
    name = f"t{secrets.token_hex(6)}"
    kubectl("create", "namespace", name)
    # Pods may be made once there is the account that they run as.
    kubectl("wait", "serviceaccount/default", "-n", name, "--for=create", "--timeout=30s")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
