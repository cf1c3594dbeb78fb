"""A real API server takes the definitions, and refuses what is wrong in a spec with a message that names the field."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from simulated import NAME, World, spec

from engines.errors import EngineError
from engines.kubernetes.kubectl import Kubectl
from parley_operator.crds import ROOT
from parley_operator.plan import plan

pytestmark = pytest.mark.cluster

AGENT = spec("one")


@pytest.fixture(scope="session")
def defined(cluster: Any) -> Kubectl:
    kubectl: Kubectl = cluster.kubectl
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "deploy/kubernetes/crds"))
    for plural in ("agents", "agentversions", "agentteams"):
        kubectl("wait", f"crd/{plural}.parley.dev", "--for=condition=Established", "--timeout=30s")
    return kubectl


@pytest.fixture
def here(defined: Kubectl, namespace: str) -> str:
    return namespace


def applied(kubectl: Kubectl, folder: Path, namespace: str, *objects: dict[str, Any]) -> str:
    path = folder / "objects.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return kubectl("apply", "-n", namespace, "-f", str(path))


def agent(told: dict[str, Any], name: str = "coder") -> dict[str, Any]:
    return {"apiVersion": "parley.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name}, "spec": told}


def rollout(**told: Any) -> dict[str, Any]:
    return AGENT | {"rollout": told}


STEP = [{"weight": 100}]
REFUSED = {
    "no executor": ({"runtime": "native", "card": AGENT["card"]}, "spec.executor"),
    "no card": ({"executor": "a:B"}, "spec.card"),
    "two cards": (
        AGENT | {"card": {"inline": {}, "configMap": {"name": "a", "key": "b"}}},
        "exactly one of inline and configMap",
    ),
    "a sidecar without an image": ({"runtime": "sidecar"}, "spec.image"),
    "a port of a native one": (AGENT | {"port": 80}, "spec.port"),
    "remote and pods": (
        {"runtime": "remote", "remote": {"url": "https://a.example"}, "replicas": 2},
        "remote runs elsewhere",
    ),
    "remote from nowhere": ({"runtime": "remote"}, "spec.remote"),
    "remote from two places": (
        {"runtime": "remote", "remote": {"url": "https://a.example", "agent": "b"}},
        "exactly one of url and agent",
    ),
    "replicas and autoscaling": (
        AGENT | {"replicas": 2, "autoscaling": {"maxReplicas": 3, "tasksPerReplica": 5}},
        "spec.replicas",
    ),
    "autoscaling by nothing": (AGENT | {"autoscaling": {"maxReplicas": 3}}, "tasksPerReplica and cpuPercent"),
    "fewest above most": (
        AGENT | {"autoscaling": {"minReplicas": 5, "maxReplicas": 3, "cpuPercent": 80}},
        "autoscaling.minReplicas",
    ),
    "shares that fall": (
        rollout(steps=[{"weight": 50}, {"weight": 20}, {"weight": 100}]),
        "each step's weight must be higher",
    ),
    "shares that stay": (
        rollout(steps=[{"weight": 50}, {"weight": 50}, {"weight": 100}]),
        "each step's weight must be higher",
    ),
    "shares that end early": (rollout(steps=[{"weight": 50}]), "the last step's weight must be 100"),
    "no steps": (rollout(steps=[]), "spec.rollout.steps"),
    "a share of nothing": (rollout(steps=[{"weight": 0}, *STEP]), "spec.rollout.steps[0].weight"),
    "a pause of no length": (
        rollout(steps=[{"weight": 5, "pause": {"duration": "soon"}}, *STEP]),
        "spec.rollout.steps[0].pause.duration",
    ),
    "a rule that there is not": (rollout(analysis={"rules": ["luck"]}), "spec.rollout.analysis.rules[0]"),
    "an analysis that asks for nothing": (
        rollout(analysis={"prometheus": [{"name": "a", "url": "http://p:9090", "query": "up"}]}),
        "give max, min, or both",
    ),
    "a variable of the operator's": (
        AGENT | {"env": [{"name": "PARLEY_VERSION", "value": "1"}]},
        "set by the operator",
    ),
    "a variable with two values": (
        AGENT
        | {"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
        "a value or valueFrom",
    ),
    "a value from nowhere": (
        AGENT | {"env": [{"name": "A", "valueFrom": {}}]},
        "valueFrom: give exactly one",
    ),
    "a host without an address": (
        AGENT | {"security": {"network": {"hosts": [{"ports": [443]}]}}},
        "exactly one of cidr and podLabels",
    ),
    "an amount that is none": (
        AGENT | {"resources": {"requests": {"cpu": "many"}}},
        "spec.resources.requests.cpu",
    ),
    "a field that there is not": (AGENT | {"replica": 2}, 'unknown field "spec.replica"'),
    "a version that is none": (AGENT | {"version": "one"}, "spec.version"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_spec_is_refused_with_its_field(case: str, defined: Kubectl, here: str, tmp_path: Path) -> None:
    told, said = REFUSED[case]
    with pytest.raises(EngineError) as refused:
        applied(defined, tmp_path, here, agent(told))
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["a" * 51, "1coder", "my.coder"])
def test_a_name_that_others_cannot_be_made_from_is_refused(
    name: str, defined: Kubectl, here: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=r"metadata\.name: at most 50"):
        applied(defined, tmp_path, here, agent(AGENT, name))


def test_all_that_is_made_of_an_agent_is_taken_as_it_is(defined: Kubectl, here: str, tmp_path: Path) -> None:
    applied(defined, tmp_path, here, agent(AGENT, NAME))
    live = json.loads(defined("get", "agent", NAME, "-n", here, "-o", "json"))
    more = {
        "security": {"network": {"agents": ["planner"], "hosts": [{"cidr": "10.0.0.0/8", "ports": [443]}]}}
    }
    world = World.of(
        AGENT
        | more
        | {
            "autoscaling": {"maxReplicas": 4, "cpuPercent": 70},
            "files": [{"secret": "keys", "path": "/keys"}],
            "envFrom": [{"secret": "keys"}],
            "placement": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]},
        }
    )
    world.secrets["keys"] = "h"
    world.settle(10)
    made = plan(world.observe()).apply
    assert {one["kind"] for one in made} >= {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"}
    assert "HorizontalPodAutoscaler" in {one["kind"] for one in made}
    uid = live["metadata"]["uid"]
    for one in [*world.versions.values(), *made]:
        if one["kind"] == "Agent":
            continue
        sent = json.loads(json.dumps(one))
        sent["metadata"]["namespace"] = here
        for ours in ("uid", "resourceVersion", "creationTimestamp"):
            sent["metadata"].pop(ours, None)
        for owner in sent["metadata"]["ownerReferences"]:
            owner["uid"] = uid
        path = tmp_path / "object.json"
        path.write_text(json.dumps(sent))
        defined("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(path))


def test_a_version_never_changes(defined: Kubectl, here: str, tmp_path: Path) -> None:
    world = World.of(AGENT)
    world.settle(3)
    (made,) = world.versions.values()
    sent = {
        "apiVersion": made["apiVersion"],
        "kind": "AgentVersion",
        "metadata": {"name": made["metadata"]["name"]},
        "spec": made["spec"],
    }
    applied(defined, tmp_path, here, sent)
    with pytest.raises(EngineError, match="an AgentVersion never changes"):
        applied(defined, tmp_path, here, sent | {"spec": sent["spec"] | {"version": "9.9.9+00000000"}})


def test_the_status_of_an_agent_is_taken_and_shown(defined: Kubectl, here: str, tmp_path: Path) -> None:
    applied(defined, tmp_path, here, agent(AGENT, NAME))
    world = World.of(AGENT)
    world.settle(10)
    patch = tmp_path / "status.json"
    patch.write_text(json.dumps({"status": world.agent["status"]}))
    defined(
        *("patch", "agent", NAME, "-n", here, "--subresource=status", "--type=merge"),
        *("--patch-file", str(patch)),
    )
    defined("wait", f"agent/{NAME}", "-n", here, "--for=condition=Ready", "--timeout=5s")
    defined("wait", f"agent/{NAME}", "-n", here, "--for=condition=RolledOut", "--timeout=5s")
    shown = defined("get", "agents", "-n", here)
    assert "PHASE" in shown
    assert world.table.current in shown


def test_explain_says_what_a_field_is_for(defined: Kubectl) -> None:
    assert "The canary's share of the new contexts" in " ".join(
        defined("explain", "agent.spec.rollout.steps.weight").split()
    )
    assert "AgentVersion" in defined("explain", "agentversion")
