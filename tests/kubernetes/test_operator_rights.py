"""The operator with no more rights than the chart gives it does all that it is to do."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import yaml
from charted import template
from operated import CRDS, World, agent, until, world

from engines.kubernetes.kubectl import Kubectl
from parley_operator.kube.kinds import AGENT, AUTOSCALER, DEPLOYMENT, EVENT, TEAM

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@pytest.fixture
async def here(kubeconfig: Path, kubectl: Kubectl, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    async with world(kubeconfig, namespace, tmp_path) as made:
        yield made


@pytest.mark.parametrize("everywhere", [False, True], ids=["one namespace", "all namespaces"])
async def test_the_rights_that_the_chart_gives_are_enough(
    here: World, kubectl: Kubectl, tmp_path: Path, everywhere: bool
) -> None:
    values = {} if everywhere else {"operator.namespaces": [here.namespace]}
    made = [
        one
        for one in template(kubectl, namespace=here.namespace, values=values)
        if one["kind"] in RIGHTS and "aggregate" not in str(one["metadata"]["labels"])
    ]
    file = tmp_path / "rights.yaml"
    file.write_text(yaml.safe_dump_all(made))
    kubectl("apply", "--server-side", "-f", str(file))
    try:
        limited = _as(kubectl, here, tmp_path)
        kubectl("create", "configmap", "parley-tokens", "-n", here.namespace)
        told = {"namespaces": ""} if everywhere else {}
        operator = here.operator(kubeconfig=limited, token_keys="parley-tokens", **told)
        await here.apply(agent("hello", autoscaling={"maxReplicas": 2, "cpuPercent": 50}, queue={"rate": 5}))
        await here.apply(
            {"apiVersion": TEAM.api, "kind": "AgentTeam", "metadata": {"name": "team"}, "spec": {}}
        )
        await _ready(here, ["hello", *(f"team-{role}" for role in ("orchestrator", "planner", "coder"))])
        changed = await here.apply(agent("hello", image="other:1", replicas=2))
        generation = changed["metadata"]["generation"]
        await until(lambda: here.holds("hello", "RolledOut", generation=generation), 90)
        assert not await here.all(AUTOSCALER)
        assert {one["reason"] for one in await here.all(EVENT)} >= {"RolledOut", "Promoted"}
        keys = kubectl.json("get", "configmap", "parley-tokens", "-n", here.namespace)["data"]
        assert set(keys) == {"issuer", "jwks.json"}
        await here.kube.delete(AGENT, here.namespace, "hello")
        await here.kube.delete(TEAM, here.namespace, "team")

        async def gone() -> bool:
            return not await here.all(AGENT) and not await here.all(DEPLOYMENT)

        await until(gone, 120, what="what was deleted stays")
        # (Namespaces of tests that have just ended, where nobody may make anything any more, are none of its rights.)
        said = [line for line in operator.log.lower().splitlines() if "is being terminated" not in line]
        assert not [line for line in said if "forbidden" in line]
    finally:
        kubectl("delete", "--wait=false", "-f", str(file))


async def _ready(here: World, names: Sequence[str]) -> None:
    for name in names:
        await until(lambda name=name: here.holds(name, "Ready"), 90, what=f"{name} does not become ready")  # type: ignore[misc]


def _as(kubectl: Kubectl, here: World, folder: Path) -> Path:
    """A kubeconfig of the operator's service account."""
    token = kubectl("create", "token", "parley-operator", "-n", here.namespace).strip()
    told = yaml.safe_load(here.kubeconfig.read_text())
    for user in told["users"]:
        user["user"] = {"token": token}
    file = folder / "limited.kubeconfig"
    file.write_text(yaml.safe_dump(told))
    file.chmod(0o600)
    return file
