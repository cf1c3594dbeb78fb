"""What is known of one Agent at one moment: all that `plan` decides by. Plain data, made by `observe`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from parley_registry.client import Rollout, VersionFigures

Object = Mapping[str, Any]
"""An object of Kubernetes as the API serves it."""


class Ref(NamedTuple):
    """Which object of the Agent's namespace."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was told that shows in what it makes. Empty means: not given."""

    image: str = "parley"
    """Image of ours, for what brings none of its own."""
    pull_policy: str = ""
    """imagePullPolicy of all containers; empty: Kubernetes' own rule."""
    pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets to pull images with."""
    registry: str = ""
    """Registry that agents publish in, as its address without a namespace, when that holds no secret; else the
    platform Secret has it."""
    registry_namespace: str = ""
    """Namespace in the registry; empty: the Kubernetes namespace of the agent."""
    platform_secret: str = "parley-platform"
    """Secret whose keys (PARLEY_STORE …) become the environment of every agent's pods."""
    auth_issuer: str = ""
    auth_audience: str = "parley"
    agent_audience: str = "parley-agents"
    """Audience of the tokens that are shown to agents: they accept it, the registry does not, so that an agent cannot
    go there as who called it."""
    auth_jwks: str = ""
    trusted: tuple[str, ...] = ()
    """Callers (owners) that may choose priorities."""
    push_allow: tuple[str, ...] = ()
    """Networks (CIDR) and hosts that agents may push notifications to although they are not public, besides the agents that
    each names."""
    domain: str = "cluster.local"
    """DNS domain of the cluster, for the addresses that agents publish."""
    platform_egress: tuple[Object, ...] = ()
    """Egress rules of NetworkPolicy that every agent needs: store, queue, registry."""
    operator_namespace: str = ""
    """Where the operator runs: it may ask the agents for figures."""
    run_as_user: int | None = 65532
    """User of containers whose image does not say (None: the image's own, as OpenShift wants it)."""
    addresses: Literal["names", "ips"] = "names"
    """Whether agents publish the DNS name or the address of their Service; the latter is for clusters without DNS."""
    volumes: tuple[Object, ...] = ()
    """Volumes that every pod has besides its own …"""
    mounts: tuple[Object, ...] = ()
    """… where every container has them …"""
    env: tuple[Object, ...] = ()
    """… and variables that each has besides its own."""
    jwks: str = ""
    """Content of a key set that verifies callers' tokens, in place of `auth_jwks`: each agent gets it as a file."""


@dataclass(frozen=True, slots=True)
class Remote:
    """An agent that runs elsewhere, as the registry knows it: `health` is up, down or unknown; `source` is where its card is
    fetched from, "" when its own hosts publish it."""

    version: str
    health: str
    url: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """One Agent with all that belongs to it.

    What comes from the API server may be a little old; `table`, `published` and `figures` are from the registry and from
    a pod, and None where these could not be reached.
    """

    now: float
    """Seconds since the epoch: no other clock is asked."""
    agent: Object
    """The Agent, as it is in the API server."""
    settings: Settings = Settings()
    versions: tuple[Object, ...] = ()
    """Its AgentVersions."""
    children: Mapping[Ref, Object] = field(default_factory=dict)
    """The other objects that it owns (also those that its versions own): Deployment, ConfigMap, Service,
    ServiceAccount, NetworkPolicy, PodDisruptionBudget, HorizontalPodAutoscaler."""
    pods: tuple[Object, ...] = ()
    """Its pods, for their reasons when something does not start. May be left out."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Of each Secret that is referenced and there, a hash of its content (the platform's too)."""
    configmaps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of each ConfigMap that is referenced and there, its data."""
    scaled_by_others: frozenset[str] = frozenset()
    """Deployments that an autoscaler which is not ours is set to."""
    table: Rollout | None = None
    """The rollout table (one without versions: there is none yet); None: the registry cannot be reached."""
    registry_error: str = ""
    """Why not, in words."""
    published: frozenset[str] = frozenset()
    """The agent's versions in the registry (of those that it shares the name with, too)."""
    latest: str = ""
    """Which of them is the latest there."""
    elder: str = ""
    """Another Agent that has the name in the registry already, as namespace/name: where all namespaces publish in one."""
    figures: Mapping[str, VersionFigures] | None = None
    """How the versions do, by version; None: no pod could be asked. Only needed when `asking.figures` says so."""
    figures_error: str = ""
    """Why not, in words."""
    remote: Remote | None = None
    """For `runtime: remote`: what the registry has of it."""
    checks: Mapping[str, "Check"] = field(default_factory=dict)
    """Last answers of the analysis's Prometheus queries and webhooks, by their names."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a Prometheus query or a webhook said of the canary: `passed` None while there is no answer."""

    passed: bool | None
    reason: str
