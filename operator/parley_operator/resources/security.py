"""What an agent's pods may do and reach."""

from typing import Annotated, Literal

from pydantic import Field

from parley_operator.resources.base import AgentName, Free, Labels, Model, Name, rules

Cidr = Annotated[str, Field(max_length=43, pattern=r"^[0-9a-fA-F:.]+/[0-9]{1,3}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Host(Model):
    """Something outside that the pods may reach, such as the servers of a language model. (Kubernetes' network policies know addresses,
    not names of hosts.)"""

    model_config = rules(
        (
            "has(self.cidr) != has(self.podLabels)",
            "security.network.hosts: give exactly one of cidr and podLabels",
        ),
        (
            "!has(self.namespace) || has(self.podLabels)",
            "security.network.hosts.namespace: goes with podLabels",
        ),
    )

    cidr: Cidr | None = None
    """Addresses, such as `203.0.113.0/24`."""
    pod_labels: Labels | None = None
    """Labels of pods in this cluster, such as those of a model server."""
    namespace: Name | None = None
    """Their namespace; by default the Agent's."""
    ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=16)] = (443,)
    """TCP ports."""


class Network(Model):
    """Whom the pods may call, and who may call them. What is not said here and not needed for the platform (store, queue, registry, DNS) is
    closed by a NetworkPolicy; it needs a network plugin that enforces them."""

    agents: Annotated[tuple[AgentName, ...], Field(max_length=100)] = ()
    """Agents of this namespace that may be called; `hosts` with podLabels is for others."""
    hosts: Annotated[tuple[Host, ...], Field(max_length=64)] = ()
    """What else may be reached: model servers, repositories."""
    callers: Literal["namespace", "cluster", "named"] = "namespace"
    """Whose pods may call the agent: those of its namespace, all of the cluster, or those that `callerPods` names.
    The operator may always."""
    caller_pods: Annotated[tuple[Free, ...], Field(max_length=32)] = ()
    """Peers as in a NetworkPolicy's `from` (podSelector, namespaceSelector, ipBlock) that may call the agent too."""
    open: bool = False
    """Make no NetworkPolicy at all."""


class Account(Model):
    """Under whose name the pods run. They are restricted in any case: no root, no privileges, a read-only root file system (with /tmp and
    PARLEY_HOME to write in)."""

    service_account: Name | None = None
    """Service account of the pods; by default one of the agent's own, without any rights in the cluster."""
    run_as_user: Annotated[int | None, Field(ge=1)] = None
    """User of the containers; by default the platform's."""
    run_as_group: Annotated[int | None, Field(ge=1)] = None
    """Group of the containers."""


class Security(Account):
    """Under whose name the pods run, and what they may reach."""

    network: Network = Network()
    """Network access."""
