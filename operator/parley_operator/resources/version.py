"""AgentVersion: one version of an Agent, made by the operator; what it is never changes."""

from typing import Annotated, Literal

from pydantic import Field

from parley_operator.resources.agent import Template
from parley_operator.resources.base import AgentName, Free, Model, Text, rules
from parley_operator.resources.security import Account


class AgentVersionSpec(Model):
    """What the version is, with all that was left to defaults filled in."""

    model_config = rules(
        ("self == oldSelf", "spec: an AgentVersion never changes; change its Agent instead"),
    )

    agent: AgentName
    """The Agent that it is a version of."""
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    """Hash of all that makes the version."""
    version: Annotated[str, Field(max_length=64)]
    """The version as it is published, with the hash as build metadata."""
    template: Template
    """The fields of the Agent that make the version."""
    account: Account = Account()
    """Under whose name the pods run."""
    push_to: Annotated[tuple[AgentName, ...], Field(max_length=100)] = ()
    """Agents of the namespace that its tasks may push notifications to: those that the Agent named (`security.network.agents`) when the
    version was made."""
    card: Free = Field(default_factory=dict)
    """The card as it is published, but for its interfaces; empty: what the server of a sidecar shows."""
    sources: Annotated[dict[str, Annotated[str, Field(max_length=128)]], Field(max_length=200)] = Field(
        default_factory=dict
    )
    """Hashes of the contents of all Secrets and ConfigMaps that the pods use, by kind and name."""


class AgentVersionStatus(Model):
    """How the version is. All of it is written by the operator."""

    state: Literal["Inactive", "Ramping", "Current", "Draining", "Drained"] = "Inactive"
    """Its state in the rollout table."""
    weight: float = 0
    """Its share of the new contexts, in per cent."""
    active_tasks: int | None = None
    """Tasks that have not ended; absent while it is not known."""
    replicas: int = 0
    """Pods there are to be."""
    ready: int = 0
    """Pods that take calls."""
    draining_since: Annotated[str | None, Field(max_length=32)] = None
    """Since when it gets no new contexts."""
    idle_since: Annotated[str | None, Field(max_length=32)] = None
    """Since when it has had no open task while it drained."""
    drained_at: Annotated[str | None, Field(max_length=32)] = None
    """When it was drained."""
    counted: Annotated[str | None, Field(max_length=32)] = None
    """When its tasks were counted."""
    fewer_since: Annotated[str | None, Field(max_length=32)] = None
    """Since when fewer pods would be enough."""
    moved: bool = False
    """Whether the current version goes on with its contexts: it had failed, or its deadline had passed."""
    message: Text = ""
    """What keeps it from being available, in words."""
    troubles: Annotated[tuple[Text, ...], Field(max_length=16)] = ()
    """What has kept its pods from starting since all of them took calls the last time, each in a word: an event told of it."""


class AgentVersion(Model):
    """One version of an Agent. It is made by the operator and owned by the Agent."""

    spec: AgentVersionSpec
    """What it is."""
    status: AgentVersionStatus = AgentVersionStatus()
    """How it is."""
