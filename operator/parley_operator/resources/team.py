"""AgentTeam: the whole coding team in a few lines."""

from typing import Annotated, Literal

from pydantic import Field

from parley_operator.resources.agent import Image, Platform, Semantic
from parley_operator.resources.base import Model, Text, rules
from parley_operator.resources.conditions import Condition
from parley_operator.resources.pod import EnvFrom, EnvVar, Files, Placement, Resources
from parley_operator.resources.rollout import RolloutPolicy
from parley_operator.resources.scaling import Autoscaling, Queue, Replicas
from parley_operator.resources.security import Host

ROLES = ("orchestrator", "planner", "coder", "reviewer", "tester")


class Member(Model):
    """What is different for one member of the team."""

    model_config = rules(
        (
            "!(has(self.replicas) && has(self.autoscaling))",
            "members: give a member replicas or autoscaling, not both",
        )
    )

    version: Semantic | None = None
    """The version that people are told; by default the team's."""
    image: Image | None = None
    """Its image; by default the team's."""
    executor: Annotated[str | None, Field(max_length=512, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] = None
    """An executor of your own in place of Parley's, as `package.module:Class`. It has to have the same skills."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=100)] = ()
    """Environment besides the team's."""
    resources: Resources | None = None
    """Processor and memory; by default the team's."""
    replicas: Replicas | None = None
    """Its pods; by default the team's."""
    autoscaling: Autoscaling | None = None
    """Pods by what there is to do."""
    queue: Queue | None = None
    """Limits of its queue."""


class Members(Model):
    """What is different for some of the team."""

    orchestrator: Member = Member()
    """Takes the job, has it planned, and delegates."""
    planner: Member = Member()
    """Makes a plan of steps."""
    coder: Member = Member()
    """Makes the changes."""
    reviewer: Member = Member()
    """Reviews them."""
    tester: Member = Member()
    """Runs the tests on them."""


class AgentTeamSpec(Model):
    """What all five have in common, and what is different for some."""

    version: Semantic = "0.1.0"
    """The version that people are told of each."""
    image: Image | None = None
    """Image of all; by default the platform's."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=100)] = ()
    """Environment of all, such as the address of the model's servers."""
    env_from: Annotated[tuple[EnvFrom, ...], Field(max_length=32)] = ()
    """Secrets and ConfigMaps whose keys become environment, such as the key for the model."""
    files: Annotated[tuple[Files, ...], Field(max_length=32)] = ()
    """Secrets and ConfigMaps whose keys become files."""
    resources: Resources = Resources()
    """Processor and memory of each."""
    replicas: Replicas | None = None
    """Pods of each."""
    hosts: Annotated[tuple[Host, ...], Field(max_length=64)] = ()
    """What all may reach besides each other and the platform: model servers, repositories, package indexes."""
    placement: Placement = Placement()
    """On which nodes the pods run."""
    rollout: RolloutPolicy = RolloutPolicy()
    """How new versions come in."""
    platform: Platform = Platform()
    """Overrides of the operator's settings."""
    members: Members = Members()
    """What is different for some."""


class TeamMember(Model):
    """One Agent of the team as its status has it."""

    role: Text
    """Its part in the team."""
    agent: Text
    """Name of its Agent."""
    phase: Text = ""
    """The phase that it is in."""
    current_version: Text = ""
    """The version that gets the new contexts."""


class AgentTeamStatus(Model):
    """How the team is. All of it is written by the operator."""

    observed_generation: int = 0
    """The generation of the AgentTeam that all this is about."""
    phase: Literal["", "Pending", "Ready", "Progressing", "Degraded"] = ""
    """In one word."""
    ready: Text = ""
    """How many of the agents are ready, as `3/5`."""
    url: Text = ""
    """Where the orchestrator answers in the cluster."""
    members: Annotated[tuple[TeamMember, ...], Field(max_length=16)] = ()
    """The team's Agents."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """Accepted, Ready and Degraded."""


class AgentTeam(Model):
    """The coding team: an orchestrator, and a planner, coder, reviewer and tester that it delegates to. The operator makes an Agent of each, called
    as the team with the role after a dash."""

    spec: AgentTeamSpec
    """What is wanted."""
    status: AgentTeamStatus = AgentTeamStatus()
    """How it is."""
