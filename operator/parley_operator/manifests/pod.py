"""The pod of a version: the durable front and worker, restricted in every way, beside an A2A server if the agent is one."""

from collections.abc import Iterator
from typing import Any

from parley_operator.identity import platform_secret, version_name
from parley_operator.manifests.meta import Manifest, labels, selector
from parley_operator.observed import Settings
from parley_operator.resources.agent import Template
from parley_operator.resources.base import seconds
from parley_operator.resources.pod import EnvFrom, EnvVar, Files, Probe
from parley_operator.resources.version import AgentVersionSpec

PORT = 8080
SERVICE_PORT = 80
"""Port of the agent's Service."""
DRAIN_DELAY = 5
"""Seconds for which a front goes on taking calls once it is told to end: load balancers need them to learn it."""
PRE_STOP = 1
"""Seconds before it is told so: the time that endpoints need to be told at all."""
MARGIN = 10
"""Seconds for handing over what still runs, before a pod is killed."""
SERVER_PORT = 8000
"""Port of a sidecar's A2A server, unless it is told."""
_TOKEN = "/var/run/secrets/parley"
_CARD = "/etc/parley"
_TRUST = "/etc/parley-trust"
_LIMITS = "/etc/parley-limits"
_HOME = "/var/lib/parley"
_LAST_WORDS = "FallbackToLogsOnError"
"""The end of its log is why a container has ended, and is told in the Agent's conditions."""


def trust_name(agent: str) -> str:
    """Name of the ConfigMap with the keys that verify callers."""
    return f"{agent}-trust"


def limits_name(agent: str) -> str:
    """Name of the ConfigMap with the limits of its queue."""
    return f"{agent}-limits"


def pod_template(spec: AgentVersionSpec, namespace: str, url: str, settings: Settings) -> Manifest:
    """The pod template of a version's Deployment."""
    template = spec.template
    sidecar = template.runtime == "sidecar"
    pod: Manifest = {
        "serviceAccountName": spec.account.service_account or spec.agent,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": int(PRE_STOP + DRAIN_DELAY + seconds(template.grace) + MARGIN),
        "securityContext": _pod_security(spec, settings),
        "containers": [_host(spec, namespace, url, settings)],
        "volumes": [*_volumes(spec, settings), *map(dict, settings.volumes)],
        **_placement(spec),
    }
    if sidecar:
        # An init container that goes on running begins before the front and ends after it: the front hands over what runs
        # while the server behind it still answers.
        pod["initContainers"] = [_server(spec, settings)]
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    return {"metadata": {"labels": labels(spec.agent, spec.hash)}, "spec": pod}


def _host(spec: AgentVersionSpec, namespace: str, url: str, settings: Settings) -> Manifest:
    """The container that runs `parley host`, or what the Agent has in its place."""
    template = spec.template
    own = template.runtime == "native"
    if own:
        command = list(template.command) or ["parley", "host", template.executor or ""]
        image = template.image or settings.image
        args, ours = list(template.args), [_plain_env(one) for one in template.env]
        sources = [_env_from(one) for one in template.env_from]
        mounts = [_mount(index, one) for index, one in enumerate(template.files)]
        resources = template.resources.written()
    else:
        forward = f"http://127.0.0.1:{template.port or SERVER_PORT}"
        command, image, args = ["parley", "host", "--forward", forward], settings.image, []
        ours, sources, mounts = [], [], []
        resources = {"requests": {"cpu": "50m", "memory": "128Mi"}}
    secret = platform_secret(template, settings)
    platform = [{"secretRef": {"name": secret}}] if secret else []
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "timeoutSeconds": 5}
    container: Manifest = {
        "name": "agent",
        "image": image,
        "command": command,
        "ports": [{"name": "http", "containerPort": PORT}],
        "envFrom": [*platform, *sources],
        "env": [*map(dict, settings.env), *ours, *_env(spec, namespace, url, settings)],
        "resources": resources,
        "terminationMessagePolicy": _LAST_WORDS,
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "timeoutSeconds": 5,
            "periodSeconds": 2,
            "failureThreshold": 3,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
        "securityContext": _CONFINED,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "home", "mountPath": _HOME},
            {"name": "token", "mountPath": _TOKEN, "readOnly": True},
            {"name": "limits", "mountPath": _LIMITS, "readOnly": True},
            *([{"name": "card", "mountPath": _CARD, "readOnly": True}] if spec.card else []),
            *([{"name": "trust", "mountPath": _TRUST, "readOnly": True}] if settings.jwks else []),
            *mounts,
            *map(dict, settings.mounts),
        ],
    }
    if args:
        container["args"] = args
    _pulled(container, template, settings)
    return container


def _server(spec: AgentVersionSpec, settings: Settings) -> Manifest:
    """The container with the A2A server of a sidecar."""
    template = spec.template
    probe = template.probe or Probe()
    port = template.port or SERVER_PORT
    container: Manifest = {
        "name": "server",
        "image": template.image,
        "restartPolicy": "Always",
        "ports": [{"name": "a2a", "containerPort": port}],
        "envFrom": [_env_from(one) for one in template.env_from],
        "env": [_plain_env(one) for one in template.env],
        "resources": template.resources.written(),
        "terminationMessagePolicy": _LAST_WORDS,
        "startupProbe": {
            "httpGet": {"path": probe.path, "port": "a2a"},
            "timeoutSeconds": 5,
            "periodSeconds": 1,
            "failureThreshold": probe.start_seconds,
        },
        "securityContext": _CONFINED,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            *(_mount(index, one) for index, one in enumerate(template.files)),
            *map(dict, settings.mounts),
        ],
    }
    if template.command:
        container["command"] = list(template.command)
    if template.args:
        container["args"] = list(template.args)
    _pulled(container, template, settings)
    return container


def _env(spec: AgentVersionSpec, namespace: str, url: str, settings: Settings) -> Iterator[Manifest]:
    """What the host is told by the operator."""
    template = spec.template
    registry = template.platform.registry or settings.registry
    told = {
        "PARLEY_LISTEN": f"0.0.0.0:{PORT}",
        "PARLEY_CARD": f"{_CARD}/card.json" if spec.card else "",
        "PARLEY_AGENT_NAME": spec.agent,
        "PARLEY_VERSION": spec.version,
        "PARLEY_SCOPE": namespace,
        "PARLEY_AGENT_ID": f"{namespace}/{spec.agent}",
        "PARLEY_ROLE": "front,worker",
        "PARLEY_PUBLIC_URL": url,
        "PARLEY_HOME": _HOME,
        "PARLEY_DRAIN": f"{seconds(template.grace):g}",
        "PARLEY_DRAIN_DELAY": str(DRAIN_DELAY),
        "PARLEY_REGISTRY": _registry(registry, settings.registry_namespace or namespace) if registry else "",
        "PARLEY_REGISTRY_TOKEN_FILE": f"{_TOKEN}/token",
        "PARLEY_AGENT_TOKEN_FILE": f"{_TOKEN}/agent-token",
        "PARLEY_AUTH_ISSUER": settings.auth_issuer,
        "PARLEY_AUTH_AUDIENCE": f"{settings.auth_audience},{settings.agent_audience}",
        "PARLEY_AUTH_JWKS": f"{_TRUST}/jwks.json" if settings.jwks else settings.auth_jwks,
        "PARLEY_LIMITS_FILE": f"{_LIMITS}/limits.json",
        "PARLEY_TRUSTED": ",".join(settings.trusted),
        "PARLEY_PUSH_ALLOW": ",".join(_pushed_to(spec, namespace, settings)),
    }
    return ({"name": name, "value": value} for name, value in told.items() if value)


def _pushed_to(spec: AgentVersionSpec, namespace: str, settings: Settings) -> Iterator[str]:
    """Where callbacks may go though it is in the cluster: Services of agents by their names, and what the platform says; an
    Agent that sets the variable itself has its own way."""
    if any(one.name == "PARLEY_PUSH_ALLOW" for one in spec.template.env):
        return
    yield from settings.push_allow
    if settings.addresses == "names":
        yield from (f"{one}.{namespace}.svc.{settings.domain}" for one in spec.push_to)


def _registry(base: str, namespace: str) -> str:
    return f"{base.rstrip('/')}{'&' if '?' in base else '?'}namespace={namespace}"


def _volumes(spec: AgentVersionSpec, settings: Settings) -> Iterator[Manifest]:
    yield {"name": "tmp", "emptyDir": {}}
    yield {"name": "home", "emptyDir": {}}
    # Two, since who is shown a token can go elsewhere with it: what agents are shown, the registry does not take.
    tokens = {"token": settings.auth_audience, "agent-token": settings.agent_audience}
    sources = [
        {"serviceAccountToken": {"path": path, "expirationSeconds": 3600, "audience": audience}}
        for path, audience in tokens.items()
    ]
    yield {"name": "token", "projected": {"sources": sources}}
    # It may come and go: what it says is read while the pod runs.
    yield {"name": "limits", "configMap": {"name": limits_name(spec.agent), "optional": True}}
    if spec.card:
        yield {"name": "card", "configMap": {"name": version_name(spec.agent, spec.hash)}}
    if settings.jwks:
        yield {"name": "trust", "configMap": {"name": trust_name(spec.agent)}}
    for index, one in enumerate(spec.template.files):
        if one.secret:
            yield {"name": f"files-{index}", "secret": {"secretName": one.secret}}
        else:
            yield {"name": f"files-{index}", "configMap": {"name": one.config_map}}


_CONFINED: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _pod_security(spec: AgentVersionSpec, settings: Settings) -> Manifest:
    told: Manifest = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    user = spec.account.run_as_user or settings.run_as_user
    if user is not None:
        told["runAsUser"] = user
        told["fsGroup"] = spec.account.run_as_group or user
    if spec.account.run_as_group is not None:
        told["runAsGroup"] = spec.account.run_as_group
    return told


def _placement(spec: AgentVersionSpec) -> Manifest:
    where = spec.template.placement
    told: Manifest = {
        "topologySpreadConstraints": [dict(one) for one in where.topology_spread_constraints]
        or [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(spec.agent, spec.hash)},
            }
        ]
    }
    if where.node_selector:
        told["nodeSelector"] = dict(where.node_selector)
    if where.tolerations:
        told["tolerations"] = [one.written() for one in where.tolerations]
    if where.affinity:
        told["affinity"] = dict(where.affinity)
    if where.priority_class_name:
        told["priorityClassName"] = where.priority_class_name
    return told


def _pulled(container: Manifest, template: Template, settings: Settings) -> None:
    policy = template.image_pull_policy or settings.pull_policy
    if policy:
        container["imagePullPolicy"] = policy


def _plain_env(one: EnvVar) -> Manifest:
    if one.value_from is None:
        return {"name": one.name, "value": one.value or ""}
    return {"name": one.name, "valueFrom": one.value_from.written()}


def _env_from(one: EnvFrom) -> Manifest:
    source: dict[str, Any] = (
        {"secretRef": {"name": one.secret}} if one.secret else {"configMapRef": {"name": one.config_map}}
    )
    return source | ({"prefix": one.prefix} if one.prefix else {})


def _mount(index: int, one: Files) -> Manifest:
    return {"name": f"files-{index}", "mountPath": one.path, "readOnly": True}
