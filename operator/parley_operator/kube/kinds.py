"""The kinds of objects that the operator reads or writes, and where the API server has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from parley_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of namespaced objects."""

    api: str
    """apiVersion of its objects, like apps/v1."""
    name: str
    """kind of its objects, like Deployment."""
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The path of one object (or a subresource of it), of all in a namespace, or with None of all there are."""
        root = f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"
        parts = [root]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


GROUP = "parley.dev/v1alpha1"

AGENT = Kind(GROUP, "Agent", "agents")
VERSION = Kind(GROUP, "AgentVersion", "agentversions")
TEAM = Kind(GROUP, "AgentTeam", "agentteams")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets")
POD = Kind("v1", "Pod", "pods")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALER = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
EVENT = Kind("events.k8s.io/v1", "Event", "events")

CHILDREN = (SERVICE_ACCOUNT, SERVICE, NETWORK_POLICY, DISRUPTION_BUDGET, DEPLOYMENT, AUTOSCALER)
"""What the operator makes for an Agent besides its versions, all with the label of who manages them."""

_ALL = (AGENT, VERSION, TEAM, *CHILDREN, CONFIG_MAP, SECRET, POD, LEASE, EVENT)
_BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}


def kind_named(name: str) -> Kind:
    """The kind of that name. Raises ConfigurationError for one that the operator has nothing to do with."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ConfigurationError(f"the operator knows no kind {name!r}; add it to kube/kinds.py") from None


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """The kind of an object."""
    return kind_named(str(obj.get("kind")))
