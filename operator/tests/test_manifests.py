"""What is made of an Agent."""

import json
from dataclasses import replace
from typing import Any

import pytest
from simulated import NAME, NAMESPACE, SETTINGS, World, spec

from parley_core.urlguard import allowed
from parley_operator.identity import identify
from parley_operator.manifests.pod import _pushed_to
from parley_operator.observed import Settings
from parley_operator.plan import plan
from parley_operator.resources.agent import AgentSpec
from parley_operator.resources.version import AgentVersionSpec


def made(told: dict[str, Any] | None = None, settings: Settings = SETTINGS) -> dict[str, dict[str, Any]]:
    """What is applied for an Agent, by kind; of the ConfigMaps the one with the card."""
    world = World.of(told or spec("one"))
    world.reconcile()
    world.tick()
    found: dict[str, dict[str, Any]] = {}
    for one in plan(replace(world.observe(), settings=settings)).apply:
        found.setdefault(one["kind"] if "card.json" not in one.get("data", {}) else "Card", dict(one))
    return found


def pod(told: dict[str, Any] | None = None, settings: Settings = SETTINGS) -> dict[str, Any]:
    template = made(told, settings)["Deployment"]["spec"]["template"]
    found: dict[str, Any] = template["spec"]
    return found


def host(of: dict[str, Any]) -> dict[str, Any]:
    (container,) = of["containers"]
    found: dict[str, Any] = container
    return found


def env(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container["env"]}


@pytest.mark.parametrize(
    "told", [spec("one"), {"runtime": "sidecar", "image": "theirs:1"}], ids=["native", "sidecar"]
)
def test_every_container_is_restricted(told: dict[str, Any]) -> None:
    found = pod(told)
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found["automountServiceAccountToken"] is False
    for container in (*found["containers"], *found.get("initContainers", ())):
        confined = container["securityContext"]
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["readOnlyRootFilesystem"] is True
        assert confined["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(
    "told", [spec("one"), {"runtime": "sidecar", "image": "theirs:1"}], ids=["native", "sidecar"]
)
def test_the_last_words_of_a_container_that_ends_are_kept_for_the_condition(told: dict[str, Any]) -> None:
    found = pod(told)
    for container in (*found["containers"], *found.get("initContainers", ())):
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_a_pod_has_time_for_all_that_it_does_at_its_end() -> None:
    found = pod(spec("one", grace="90s"))
    told = env(host(found))
    before = host(found)["lifecycle"]["preStop"]["sleep"]["seconds"]
    takes = before + float(told["PARLEY_DRAIN_DELAY"]) + float(told["PARLEY_DRAIN"])
    assert told["PARLEY_DRAIN"] == "90"
    assert found["terminationGracePeriodSeconds"] > takes + 5


def test_a_host_is_told_who_it_is_and_where() -> None:
    found = made()
    told = env(host(found["Deployment"]["spec"]["template"]["spec"]))
    card = json.loads(found["Card"]["data"]["card.json"])
    assert (
        told["PARLEY_VERSION"]
        == card["version"]
        == found["Deployment"]["metadata"]["name"].replace(f"{NAME}-", "0.1.0+")
    )
    assert told["PARLEY_AGENT_NAME"] == card["name"] == NAME
    assert told["PARLEY_SCOPE"] == NAMESPACE
    assert told["PARLEY_REGISTRY"] == f"http://registry:8420?namespace={NAMESPACE}"
    assert told["PARLEY_PUBLIC_URL"] == f"http://{NAME}.{NAMESPACE}.svc.cluster.local"
    assert told["PARLEY_ROLE"] == "front,worker"


def test_a_card_gets_what_the_protocol_needs_of_it() -> None:
    card = json.loads(made()["Card"]["data"]["card.json"])
    assert card["defaultInputModes"] == ["text/plain"]
    assert card["capabilities"]["streaming"] is True
    assert "supportedInterfaces" not in card


def test_the_token_that_agents_are_shown_is_one_that_the_registry_does_not_take() -> None:
    found = pod()
    (token,) = [one for one in found["volumes"] if one["name"] == "token"]
    sources = [one["serviceAccountToken"] for one in token["projected"]["sources"]]
    told = env(host(found))
    audiences = {one["path"]: one["audience"] for one in sources}
    assert audiences[told["PARLEY_REGISTRY_TOKEN_FILE"].rpartition("/")[2]] == "parley"
    assert audiences[told["PARLEY_AGENT_TOKEN_FILE"].rpartition("/")[2]] == "parley-agents"
    assert told["PARLEY_AUTH_AUDIENCE"] == "parley,parley-agents"


def test_secrets_come_by_reference() -> None:
    secret = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "model"}}}
    world = World.of(
        spec(
            "one",
            env=[secret],
            envFrom=[{"secret": "keys", "prefix": "X_"}],
            files=[{"secret": "keys", "path": "/keys"}],
        )
    )
    world.secrets["keys"] = "h"
    world.reconcile()
    world.tick()
    (deployment,) = [one for one in plan(world.observe()).apply if one["kind"] == "Deployment"]
    found = deployment["spec"]["template"]["spec"]
    container = host(found)
    assert {"secretRef": {"name": "parley-platform"}} in container["envFrom"]
    assert {"secretRef": {"name": "keys"}, "prefix": "X_"} in container["envFrom"]
    assert secret in container["env"]
    assert {"name": "files-0", "secret": {"secretName": "keys"}} in found["volumes"]
    assert {"name": "files-0", "mountPath": "/keys", "readOnly": True} in container["volumeMounts"]


def test_the_server_of_a_sidecar_begins_before_the_front_and_ends_after_it() -> None:
    found = pod(
        {"runtime": "sidecar", "image": "theirs:1", "port": 9000, "env": [{"name": "A", "value": "1"}]}
    )
    (server,) = found["initContainers"]
    assert server["restartPolicy"] == "Always"
    assert server["image"] == "theirs:1"
    assert env(server) == {"A": "1"}
    assert server["startupProbe"]["httpGet"]["path"] == "/.well-known/agent-card.json"
    front = host(found)
    assert front["image"] == "parley:1"
    assert front["command"] == ["parley", "host", "--forward", "http://127.0.0.1:9000"]
    assert "PARLEY_CARD" not in env(front)
    assert "A" not in env(front)


def test_a_deployment_says_nothing_of_replicas() -> None:
    for told in (spec("one"), spec("one", replicas=4)):
        assert "replicas" not in made(told)["Deployment"]["spec"]


def test_the_service_is_for_all_versions_and_a_deployment_for_one() -> None:
    found = made()
    assert found["Service"]["spec"]["selector"] == {"parley.dev/agent": NAME}
    selector = found["Deployment"]["spec"]["selector"]["matchLabels"]
    assert set(selector) == {"parley.dev/agent", "parley.dev/version"}
    assert selector.items() <= found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()


def test_the_network_is_open_to_what_is_named_alone() -> None:
    network = {
        "agents": ["planner"],
        "hosts": [
            {"cidr": "203.0.113.0/24", "ports": [443]},
            {"podLabels": {"app": "vllm"}, "namespace": "models", "ports": [8000]},
        ],
    }
    settings = replace(
        SETTINGS,
        operator_namespace="parley-system",
        platform_egress=({"to": [{"ipBlock": {"cidr": "10.0.0.5/32"}}], "ports": [{"port": 5432}]},),
    )
    policy = made(spec("one", security={"network": network}), settings)["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports = [[port["port"] for port in one["ports"]] for one in policy["egress"]]
    assert ports == [[53, 53], [5432], [8080], [443], [8000]]
    callers = policy["ingress"][0]["from"]
    assert {"podSelector": {}} in callers
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "parley-system"}}}
    assert operator in callers


def test_nobody_may_call_an_agent_that_names_no_callers() -> None:
    policy = made(spec("one", security={"network": {"callers": "named"}}))["NetworkPolicy"]["spec"]
    assert policy["ingress"] == []


def test_an_agent_may_have_no_policy_and_an_account_of_its_own() -> None:
    found = made(spec("one", security={"serviceAccount": "mine", "network": {"open": True}}))
    assert "NetworkPolicy" not in found
    assert "ServiceAccount" not in found
    assert found["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_the_limits_of_a_queue_are_in_a_file_that_pods_read_while_they_run() -> None:
    world = World.of(spec("one", queue={"rate": 2, "burst": 3, "tenantWeights": {"i|alice": 3}}))
    world.reconcile()
    (limits,) = [one for one in plan(world.observe()).apply if one["metadata"]["name"] == f"{NAME}-limits"]
    told = json.loads(limits["data"]["limits.json"])
    assert (told["rate"], told["burst"], told["weights"]) == (2, 3, {"i|alice": 3})
    (volume,) = [one for one in pod()["volumes"] if one["name"] == "limits"]
    assert volume["configMap"] == {"name": f"{NAME}-limits", "optional": True}


def test_without_names_in_the_cluster_pods_wait_for_the_services_address() -> None:
    world = World.of(spec("one"))
    settings = replace(SETTINGS, addresses="ips")
    first = plan(replace(world.observe(), settings=settings))
    assert "Deployment" not in {one["kind"] for one in first.apply}
    world.carry_out(first)
    for ref, one in world.children.items():
        if ref.kind == "Service":
            one["spec"]["clusterIP"] = "10.96.0.7"
    second = plan(replace(world.observe(), settings=settings))
    (deployment,) = [one for one in second.apply if one["kind"] == "Deployment"]
    assert env(host(deployment["spec"]["template"]["spec"]))["PARLEY_PUBLIC_URL"] == "http://10.96.0.7"


def test_what_the_cluster_needs_of_every_pod_is_added() -> None:
    settings = replace(
        SETTINGS,
        volumes=({"name": "python", "hostPath": {"path": "/opt"}},),
        mounts=({"name": "python", "mountPath": "/opt", "readOnly": True},),
        env=({"name": "PATH", "value": "/opt/bin"},),
        pull_secrets=("pull",),
        pull_policy="IfNotPresent",
    )
    found = pod(None, settings)
    assert {"name": "python", "hostPath": {"path": "/opt"}} in found["volumes"]
    assert {"name": "python", "mountPath": "/opt", "readOnly": True} in host(found)["volumeMounts"]
    assert env(host(found))["PATH"] == "/opt/bin"
    assert found["imagePullSecrets"] == [{"name": "pull"}]
    assert host(found)["imagePullPolicy"] == "IfNotPresent"


def test_what_is_made_has_owners_and_labels() -> None:
    for kind, one in made().items():
        if kind == "Agent":
            continue
        (owner,) = one["metadata"]["ownerReferences"]
        assert owner["kind"] == ("AgentVersion" if kind in ("Deployment", "Card") else "Agent")
        assert one["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "parley-operator"
        assert one["metadata"]["labels"]["parley.dev/agent"] == NAME


def test_pushes_may_go_to_the_agents_that_are_named_and_to_what_the_platform_says() -> None:
    named = spec("one", security={"network": {"agents": ["team-orchestrator"]}})
    assert env(host(pod(named)))["PARLEY_PUSH_ALLOW"] == f"team-orchestrator.{NAMESPACE}.svc.cluster.local"
    assert "PARLEY_PUSH_ALLOW" not in env(host(pod(spec("one"))))
    more = replace(SETTINGS, push_allow=("10.96.0.0/12",), domain="k8s.test")
    assert env(host(pod(named, more)))["PARLEY_PUSH_ALLOW"].split(",") == [
        "10.96.0.0/12",
        f"team-orchestrator.{NAMESPACE}.svc.k8s.test",
    ]
    # Without DNS there are only addresses, which the platform has to name.
    found = identify(NAME, AgentSpec.read(named), more, {"parley-platform": "h1"}, {})
    assert isinstance(found, AgentVersionSpec)
    assert list(_pushed_to(found, NAMESPACE, replace(more, addresses="ips"))) == ["10.96.0.0/12"]
    told = host(pod({**named, "env": [{"name": "PARLEY_PUSH_ALLOW", "value": "::/0"}]}))["env"]
    assert [one["value"] for one in told if one["name"] == "PARLEY_PUSH_ALLOW"] == ["::/0"]


def test_what_pods_may_push_to_is_what_a_host_takes_and_starts_no_pod_again() -> None:
    world = World.of(spec("one", security={"network": {"agents": ["team-orchestrator"]}}))
    world.settle(10)
    [deployment] = [one for ref, one in world.children.items() if ref.kind == "Deployment"]
    before = deployment["spec"]["template"]
    told = env(host(before["spec"]))["PARLEY_PUSH_ALLOW"]
    assert allowed(told.split(",")) == ([], [told])
    world.change(spec("one", security={"network": {"agents": ["planner", "team-orchestrator"]}}))
    world.settle(10)
    [deployment] = [one for ref, one in world.children.items() if ref.kind == "Deployment"]
    assert deployment["spec"]["template"] == before
