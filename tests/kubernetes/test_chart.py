"""The chart: what it makes of values, what it refuses, and that a real API server takes it all, restricted pods only."""

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from charted import CHART, PRODUCTION, PROJECT, TRIAL, Object, only, pods, template
from plain import FOLDER, files, overlays
from pods import RESTRICTED

from engines.errors import EngineError
from engines.kubernetes.control_plane import ControlPlane
from engines.kubernetes.foreign import ForeignCluster
from engines.kubernetes.kubectl import Kubectl
from parley_operator.options import Options

pytestmark = pytest.mark.cluster

EVERYTHING = {"rocketmq.enabled": True, "nacos.enabled": True}
VARIANTS = {
    "defaults": ((), {}),
    "trial": ((TRIAL,), {}),
    "trial with all engines": ((TRIAL,), EVERYTHING),
    "volumes": ((), EVERYTHING),
    "production": ((PRODUCTION,), {}),
    "one namespace": ((), {"operator.namespaces": ["parley", "team-a"]}),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def rendered(request: pytest.FixtureRequest, kubectl: Kubectl) -> list[Object]:
    """The chart with one of several sets of values."""
    files, values = request.param
    return template(kubectl, *files, values=values)


@pytest.fixture
def crds(kubectl: Kubectl) -> None:
    """The resource definitions are there, and are served."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CHART / "crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CHART / "crds"))


@pytest.fixture
def restricted(namespace: str, kubectl: Kubectl) -> str:
    """A namespace that takes restricted pods only."""
    kubectl("label", "namespace", namespace, *(f"{key}={value}" for key, value in RESTRICTED.items()))
    return namespace


def test_helm_has_nothing_to_say_against_it(kubectl: Kubectl) -> None:
    for file in (CHART / "values.yaml", TRIAL, PRODUCTION):
        said = kubectl.helm("lint", str(CHART), "--strict", "--values", str(file))
        assert "0 chart(s) failed" in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"oprator.replicas": 2}, "'oprator' not allowed"),
        ({"operator.replicas": 0}, "operator/replicas"),
        ({"operator.replicas": "two"}, "operator/replicas"),
        ({"operator.namespaces": ["Team A"]}, "operator/namespaces/0"),
        ({"registry.grants": ["somebody"]}, "registry/grants/0"),
        ({"registry.allow": ["10.0.0.0"]}, "registry/allow/0"),
        ({"registry.publicUrl": "registry.example.com"}, "registry/publicUrl"),
        ({"platform.store": "mysql://u:p@db/parley"}, "platform/store"),
        ({"platform.store": "postgresql://db/parley"}, "platform/store"),
        ({"platform.queue": "amqp://mq"}, "platform/queue"),
        ({"platform.blobs": "/var/blobs"}, "platform/blobs"),
        ({"platform.env": {"aws_region": "x"}}, "invalid propertyName 'aws_region'"),
        ({"postgresql.storage": "much"}, "postgresql/storage"),
        ({"image.pullPolicy": "Sometimes"}, "image/pullPolicy"),
        ({"team.name": "The_Team"}, "team/name"),
        ({"networkPolicy.apiServerPorts": []}, "networkPolicy/apiServerPorts"),
        # What a schema cannot say:
        ({"postgresql.enabled": False}, "platform.store is needed"),
        ({"postgresql.enabled": False, "platform.existing": True}, "registry.store is needed"),
        ({"nacos.enabled": True, "nacos.url": "nacos://n:p@h:8848"}, "nacos.enabled"),
        ({"registry.requireSignature": True}, "registry.trustedKeys"),
        ({"operator.namespaces": ["elsewhere"]}, "operator.namespaces has to have parley"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_name(
    kubectl: Kubectl, values: dict[str, object], said: str
) -> None:
    with pytest.raises(EngineError) as refused:
        template(kubectl, values=values)
    assert said in str(refused.value).replace("\\'", "'")


def test_every_value_has_a_description_and_every_setting_a_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(part: dict[str, Any], told: dict[str, Any], path: str) -> None:
        assert part["description"], path
        if "properties" not in part:
            return
        assert part["additionalProperties"] is False, path
        assert set(part["properties"]) - {"global"} == set(told) | (
            {"requests", "limits"} if path.endswith(".resources") else set()
        ), path
        for name, one in part["properties"].items():
            compare(one, told.get(name) or {}, f"{path}.{name}")

    compare(schema, values, "values")


def test_the_api_server_takes_every_object(
    kubectl: Kubectl, crds: None, restricted: str, request: pytest.FixtureRequest
) -> None:
    for files_, values in VARIANTS.values():
        values = (
            {**values, "operator.namespaces": [restricted]} if "operator.namespaces" in values else values
        )
        objects = template(kubectl, *files_, namespace=restricted, values=values)
        kubectl.apply(objects, "--server-side", "--dry-run=server")
        # What is enforced is enforced of pods, not of what makes them.
        made = [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": restricted},
                "spec": {**pod, "serviceAccountName": "default"},
            }
            for name, pod in pods(objects).items()
        ]
        kubectl.apply([_with_volumes(one) for one in made], "--dry-run=server")


def test_pods_are_restricted_and_know_no_secret_by_heart(rendered: list[Object]) -> None:
    secrets = {value for one in rendered if one["kind"] == "Secret" for value in one["data"].values()}
    for name, pod in pods(rendered).items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["enableServiceLinks"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert {"livenessProbe", "startupProbe"} <= container.keys() or pod.get(
                "restartPolicy"
            ) == "Never", name
            assert container["resources"]["limits"]["memory"], name
            for variable in container.get("env", ()):
                assert "PASSWORD" not in variable["name"].upper() or "valueFrom" in variable, name
    others = json.dumps([one for one in rendered if one["kind"] != "Secret"])
    assert not [secret for secret in secrets if secret in others]


def test_only_the_operator_has_a_way_to_the_api_server(rendered: list[Object]) -> None:
    for name, pod in pods(rendered).items():
        assert pod.get("automountServiceAccountToken", True) is name.endswith(("-operator", "-leaving")), name
    bound = {
        subject["name"]
        for one in rendered
        if one["kind"] in ("RoleBinding", "ClusterRoleBinding")
        for subject in one["subjects"]
    }
    assert bound == {"parley-operator"}


def test_the_token_that_the_operator_shows_to_agents_is_refused_by_the_registry(
    rendered: list[Object],
) -> None:
    operator = only(rendered, "Deployment", "parley-operator")["spec"]["template"]["spec"]
    registry = only(rendered, "Deployment", "parley-registry")["spec"]["template"]["spec"]
    (volume,) = [one for one in operator["volumes"] if one["name"] == "token"]
    tokens = [one["serviceAccountToken"] for one in volume["projected"]["sources"]]
    audiences = {one["path"]: one["audience"] for one in tokens}
    told = {one["name"]: one.get("value") for one in operator["containers"][0]["env"]}
    taken = {one["name"]: one.get("value") for one in registry["containers"][0]["env"]}[
        "PARLEY_AUTH_AUDIENCE"
    ]

    shown = {name: Path(told[f"PARLEY_OPERATOR_{name}"]).name for name in ("TOKEN_FILE", "AGENT_TOKEN_FILE")}

    assert audiences[shown["TOKEN_FILE"]] == taken
    assert audiences[shown["AGENT_TOKEN_FILE"]] != taken
    assert audiences[shown["AGENT_TOKEN_FILE"]] == told["PARLEY_OPERATOR_AGENT_AUDIENCE"]


def test_the_operator_may_not_write_secrets_nor_give_rights(rendered: list[Object]) -> None:
    for role in rendered:
        if role["kind"] not in ("Role", "ClusterRole"):
            continue
        for rule in role["rules"]:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert "rbac.authorization.k8s.io" not in rule["apiGroups"]
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["get"]


def test_an_operator_of_some_namespaces_has_no_rights_in_others(kubectl: Kubectl) -> None:
    objects = template(kubectl, values={"operator.namespaces": ["parley", "team-a"], "rbac.aggregate": False})
    assert not [one for one in objects if one["kind"] == "ClusterRole"]
    granted = {one["roleRef"]["name"] for one in objects if one["kind"] == "ClusterRoleBinding"}
    assert granted == {"system:service-account-issuer-discovery"}
    roles = {
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in objects if one["kind"] == "Role"
    }
    assert roles == {
        ("parley", "parley-operator"),
        ("parley", "parley-operator-agents"),
        ("team-a", "parley-operator-agents"),
    }


def test_upgrades_take_no_pod_away_before_another_is_ready(rendered: list[Object]) -> None:
    for one in rendered:
        if one["kind"] == "Deployment":
            assert one["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    budgets = {
        one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for one in rendered
        if one["kind"] == "PodDisruptionBudget"
    }
    assert budgets == {"parley-operator", "parley-registry"}


def test_addresses_lead_where_the_values_say(kubectl: Kubectl) -> None:

    def kept(objects: list[Object], name: str) -> dict[str, str]:
        return {
            key: base64.b64decode(value).decode()
            for key, value in only(objects, "Secret", name)["data"].items()
        }

    own = template(kubectl, values=EVERYTHING)
    assert kept(own, "parley-platform")["PARLEY_STORE"].endswith("@parley-postgresql.parley.svc:5432/parley")
    assert kept(own, "parley-platform")["PARLEY_QUEUE"].startswith(
        "rocketmq://parley-rocketmq.parley.svc:8081"
    )
    assert kept(own, "parley-registry")["PARLEY_REGISTRY_NACOS"].endswith(
        "@parley-nacos.parley.svc:8848/parley"
    )
    given = {
        "postgresql.enabled": False,
        "platform.store": "postgresql://u:p@db.example.com:6432/tasks",
        "registry.store": "postgresql://u:p@db.example.com/registry",
        "platform.blobs": "s3://parts?endpoint=http://s3.example.com:9000",
        "nacos.url": "nacos://u:p@nacos.example.com",
        "nacos.namespaces": ["a", "b"],
        "platform.env": {"AWS_REGION": "eu-1"},
    }
    theirs = template(kubectl, values=given)
    assert kept(theirs, "parley-platform") == {
        "PARLEY_STORE": given["platform.store"],
        "PARLEY_BLOBS": given["platform.blobs"],
        "AWS_REGION": "eu-1",
    }
    assert kept(theirs, "parley-registry")["PARLEY_REGISTRY_NACOS"] == "nacos://u:p@nacos.example.com/a,b"
    reached = only(theirs, "NetworkPolicy", "parley-registry")["spec"]["egress"]
    assert {port["port"] for rule in reached for port in rule["ports"]} == {53, 80, 443, 5432, 8848, 9848}
    (egress,) = [
        variable["value"]
        for variable in pods(theirs)["parley-operator"]["containers"][0]["env"]
        if variable["name"] == "PARLEY_OPERATOR_PLATFORM_EGRESS"
    ]
    assert [port["port"] for rule in json.loads(egress) for port in rule["ports"]] == [8420, 6432, 9000]


def test_passwords_are_made_once_and_stay_over_an_upgrade(
    kubectl: Kubectl, crds: None, restricted: str
) -> None:
    told = (
        "-n",
        restricted,
        "-f",
        str(TRIAL),
        "--set",
        "team.enabled=false,rbac.aggregate=false",
        "--set",
        f"operator.namespaces={{{restricted}}}",
    )

    def secrets() -> dict[str, object]:
        items = kubectl.json("get", "secrets", "-n", restricted, "-l", "app.kubernetes.io/part-of=parley")[
            "items"
        ]
        return {one["metadata"]["name"]: one["data"] for one in items}

    kubectl.helm("install", "parley", str(CHART), *told)
    before = secrets()
    kubectl.helm("upgrade", "parley", str(CHART), *told, "--set", "registry.replicas=2")
    assert secrets() == before
    assert set(before) == {"parley-postgresql", "parley-platform", "parley-registry"}
    kubectl.helm("uninstall", "parley", "-n", restricted, "--wait", "--timeout", "60s")


def test_an_install_with_pods_that_pretend_becomes_available(
    kubectl: Kubectl, crds: None, restricted: str, cluster: ControlPlane | ForeignCluster
) -> None:
    if isinstance(cluster, ForeignCluster) and not cluster.pretends:
        pytest.skip("the images are not on that cluster")
    told = (
        "-n",
        restricted,
        "-f",
        str(TRIAL),
        "--set",
        "team.enabled=false,rbac.aggregate=false",
        "--set",
        f"operator.namespaces={{{restricted}}}",
    )
    said = kubectl.helm("install", "parley", str(CHART), *told, "--wait", "--timeout", "90s")
    assert f"kubectl -n {restricted} create token me --audience parley" in said
    ready = kubectl.json("get", "deployments,statefulsets", "-n", restricted)["items"]
    assert {one["metadata"]["name"]: one["status"].get("readyReplicas") for one in ready} == {
        "parley-operator": 1,
        "parley-registry": 1,
        "parley-postgresql": 1,
    }
    kubectl.helm("uninstall", "parley", "-n", restricted)


def test_the_operator_reaches_what_the_analysis_of_a_canary_asks_where_the_values_say(
    kubectl: Kubectl,
) -> None:
    prometheus = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "ports": [{"port": 9090, "protocol": "TCP"}],
    }

    def reached(values: dict[str, object]) -> list[Object]:
        policy = only(template(kubectl, values=values), "NetworkPolicy", "parley-operator")
        return list(policy["spec"]["egress"])

    assert reached({"networkPolicy.analysis": [prometheus]}) == [*reached({}), prometheus]


def test_where_agents_may_push_to_is_told_to_the_operator(kubectl: Kubectl) -> None:
    networks = ["10.96.0.0/12", "hooks.example.internal"]
    made = only(
        template(kubectl, TRIAL, values={"agents.pushAllow": networks}), "Deployment", "parley-operator"
    )
    [container] = made["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert told["PARLEY_OPERATOR_PUSH_ALLOW"] == ",".join(networks)
    assert Options(push_allow=told["PARLEY_OPERATOR_PUSH_ALLOW"]).settings().push_allow == tuple(networks)


def test_the_chart_brings_the_settings_of_rocketmq_that_the_engines_have() -> None:
    for name in ("broker.conf", "proxy.json"):
        assert (CHART / "files" / name).read_text() == (PROJECT / "deploy" / "rocketmq" / name).read_text()


def test_the_plain_yaml_is_what_the_chart_makes(kubectl: Kubectl) -> None:
    for path, text in files(kubectl).items():
        assert path.read_text() == text, (
            f"{path.relative_to(PROJECT)} is old: `make plain-yaml` writes it anew"
        )


@pytest.mark.parametrize("overlay", ["trial", "production"])
def test_an_overlay_is_all_that_the_chart_makes_but_its_secrets(kubectl: Kubectl, overlay: str) -> None:
    built = list(yaml.safe_load_all(kubectl("kustomize", str(FOLDER / overlay))))
    wanted = overlays(kubectl)[overlay]

    def by_name(objects: list[Object]) -> dict[tuple[str, str], Object]:
        return {(one["kind"], one["metadata"]["name"]): one for one in objects}

    assert by_name(built) == by_name(wanted)
    assert len(built) == len(wanted)


def test_the_trials_secrets_are_made_once(kubectl: Kubectl, namespace: str) -> None:

    script = PROJECT / "deploy" / "kubernetes" / "trial-secrets.sh"
    environment = {**os.environ, **kubectl.environment}

    def made() -> dict[str, object]:
        subprocess.run([script, namespace], env=environment, check=True, capture_output=True, timeout=60)
        return {
            one["metadata"]["name"]: one["data"]
            for one in kubectl.json("get", "secrets", "-n", namespace)["items"]
        }

    first = made()
    assert set(first) == {"parley-postgresql", "parley-platform", "parley-registry"}
    assert made() == first


def _with_volumes(pod: Object) -> Object:
    """A StatefulSet's claims are no part of its pods' template."""
    spec = pod["spec"]
    missing = {
        mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", ())
    }
    missing -= {volume["name"] for volume in spec.get("volumes", ())}
    volumes = [*spec.get("volumes", ()), *({"name": name, "emptyDir": {}} for name in missing)]
    return {**pod, "spec": {**spec, "volumes": volumes}}
