"""What all versions of an agent have in common: Service, ServiceAccount, NetworkPolicy, PodDisruptionBudget, autoscalers."""

import json
from typing import Any

from parley_operator.manifests.meta import AGENT, Manifest, of_agent, selector
from parley_operator.manifests.pod import PORT, SERVICE_PORT, limits_name, trust_name
from parley_operator.observed import Object, Settings
from parley_operator.resources.agent import AgentSpec
from parley_operator.resources.base import seconds
from parley_operator.resources.scaling import Autoscaling, Queue
from parley_operator.resources.security import Host

_NAMESPACE = "kubernetes.io/metadata.name"


def service(agent: Object) -> Manifest:
    """The Service: any pod of any version takes a call for every one."""
    name = agent["metadata"]["name"]
    return of_agent(
        "v1",
        "Service",
        name,
        agent,
        spec={
            "selector": selector(name),
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "http", "appProtocol": "http"}],
        },
    )


def url(agent: Object, settings: Settings, found: Object | None) -> str:
    """Where the agent answers in the cluster; "" while that is not known (`found` is its Service)."""
    meta = agent["metadata"]
    if settings.addresses == "names":
        return f"http://{meta['name']}.{meta['namespace']}.svc.{settings.domain}"
    address = ((found or {}).get("spec") or {}).get("clusterIP", "")
    return f"http://{address}" if address not in ("", "None") else ""


def service_account(agent: Object) -> Manifest:
    """The pods' ServiceAccount, which has no rights."""
    return of_agent(
        "v1", "ServiceAccount", agent["metadata"]["name"], agent, automountServiceAccountToken=False
    )


def trust(agent: Object, settings: Settings) -> Manifest:
    """The ConfigMap with the keys that verify callers."""
    name = trust_name(agent["metadata"]["name"])
    return of_agent("v1", "ConfigMap", name, agent, data={"jwks.json": settings.jwks})


def limits(agent: Object, queue: Queue) -> Manifest:
    """The ConfigMap with the limits of the queue, which hosts read while they run."""
    told = {
        "concurrency": queue.concurrency,
        "rate": queue.rate,
        "burst": queue.burst,
        "backlog": queue.backlog,
        "weights": dict(queue.tenant_weights),
        "priorities": dict(queue.priorities),
    }
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return of_agent(
        "v1", "ConfigMap", limits_name(agent["metadata"]["name"]), agent, data={"limits.json": text}
    )


def disruption_budget(agent: Object) -> Manifest:
    """The PodDisruptionBudget: nodes are drained pod by pod."""
    name = agent["metadata"]["name"]
    return of_agent(
        "policy/v1",
        "PodDisruptionBudget",
        name,
        agent,
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )


def network_policy(agent: Object, spec: AgentSpec, settings: Settings) -> Manifest:
    """The NetworkPolicy: calls from where the Agent says, to what it names and to the platform."""
    name = agent["metadata"]["name"]
    network = spec.security.network
    callers: list[Manifest] = [dict(one) for one in network.caller_pods]
    if network.callers == "namespace":
        callers.append({"podSelector": {}})
    elif network.callers == "cluster":
        callers.append({"namespaceSelector": {}})
    if settings.operator_namespace:
        operator = {"matchLabels": {_NAMESPACE: settings.operator_namespace}}
        callers.append({"namespaceSelector": operator})
    egress: list[Manifest] = [
        {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
        *map(dict, settings.platform_egress),
    ]
    if network.agents:
        named = {"matchExpressions": [{"key": AGENT, "operator": "In", "values": sorted(network.agents)}]}
        egress.append({"to": [{"podSelector": named}], "ports": [{"protocol": "TCP", "port": PORT}]})
    egress += [_host(one) for one in network.hosts]
    return of_agent(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        name,
        agent,
        spec={
            "podSelector": {"matchLabels": selector(name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": callers, "ports": [{"protocol": "TCP", "port": PORT}]}] if callers else [],
            "egress": egress,
        },
    )


def autoscaler(agent: Object, name: str, wanted: Autoscaling) -> Manifest:
    """The HorizontalPodAutoscaler of a version's Deployment, for processor time."""
    target: Any = {"type": "Utilization", "averageUtilization": wanted.cpu_percent}
    window = min(int(seconds(wanted.scale_down_delay)), 3600)
    return of_agent(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        name,
        agent,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": wanted.min_replicas,
            "maxReplicas": wanted.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}},
        },
    )


def _host(host: Host) -> Manifest:
    if host.cidr is not None:
        peer: Manifest = {"ipBlock": {"cidr": host.cidr}}
    else:
        peer = {"podSelector": {"matchLabels": dict(host.pod_labels or {})}}
        if host.namespace:
            peer["namespaceSelector"] = {"matchLabels": {_NAMESPACE: host.namespace}}
    return {"to": [peer], "ports": [{"protocol": "TCP", "port": port} for port in host.ports]}
