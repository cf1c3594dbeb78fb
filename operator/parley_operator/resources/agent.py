"""Agent: what runs, how much of it, and how a new version comes in."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from parley_operator.resources.base import Duration, Model, Name, Text, Url, rules
from parley_operator.resources.card import Card
from parley_operator.resources.conditions import Condition
from parley_operator.resources.pod import EnvFrom, EnvVar, Files, Placement, Probe, Resources
from parley_operator.resources.rollout import RolloutPolicy
from parley_operator.resources.scaling import Autoscaling, Queue, Replicas
from parley_operator.resources.security import Security

Runtime = Literal["native", "sidecar", "remote"]
Image = Annotated[str, Field(min_length=1, max_length=1024)]
Semantic = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z][-0-9A-Za-z.]*)?$",
    ),
]


class RemoteAgent(Model):
    """An agent that runs elsewhere."""

    model_config = rules(("has(self.url) != has(self.agent)", "remote: give exactly one of url and agent"))

    url: Url | None = None
    """URL of its card, or of its server; it is registered in the registry and looked at from time to time."""
    agent: Annotated[str | None, Field(min_length=1, max_length=128)] = None
    """Its name in the registry, where somebody else publishes it."""


class Platform(Model):
    """What is otherwise the operator's: where this agent's tasks are kept and where it is published."""

    secret: Name | None = None
    """Secret whose keys become the environment of the pods, in place of the operator's (`parley-platform`): PARLEY_STORE, PARLEY_QUEUE,
    PARLEY_BUS, PARLEY_BLOBS, PARLEY_REGISTRY."""
    registry: Url | None = None
    """Address of the registry service that the pods publish in. The operator writes the rollout table to its own; they have to be the
    same registry."""


class Template(Model):
    """What makes a version: a change of any of these fields makes a new one, of all others none."""

    runtime: Runtime = "native"
    """`native`: an executor of the a2a-sdk in our image or yours; `sidecar`: any A2A server, with the durable front beside it; `remote`: an
    agent that runs elsewhere."""
    version: Semantic = "0.1.0"
    """The version that people are told (SemVer 2.0.0). What is published has a hash added: `1.2.0+3fa9c1d0`."""
    card: Card | None = None
    """The agent's card. May be left out for `sidecar` (then it is what the server shows) and `remote`."""
    image: Image | None = None
    """Container image: with Parley and the executor in it (native, by default the platform's), or the A2A server (sidecar)."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled; by default as Kubernetes does."""
    executor: Annotated[str | None, Field(max_length=512, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] = None
    """The executor's class for `native`, as `package.module:Class`."""
    command: Annotated[tuple[Text, ...], Field(max_length=64)] = ()
    """Command of the container: in place of the image's (sidecar), or of `parley host` (native)."""
    args: Annotated[tuple[Text, ...], Field(max_length=64)] = ()
    """Arguments of the command; for `native` further options of `parley host`."""
    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    """Port that the A2A server of a `sidecar` listens on, at all addresses of its pod (0.0.0.0); by default 8000."""
    probe: Probe | None = None
    """How it is seen that the A2A server of a `sidecar` has started."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=200)] = ()
    """Environment of the container."""
    env_from: Annotated[tuple[EnvFrom, ...], Field(max_length=32)] = ()
    """Secrets and ConfigMaps whose keys become environment."""
    files: Annotated[tuple[Files, ...], Field(max_length=32)] = ()
    """Secrets and ConfigMaps whose keys become files."""
    resources: Resources = Resources()
    """Processor and memory of the container."""
    placement: Placement = Placement()
    """On which nodes the pods run."""
    grace: Duration = "30s"
    """How long running work may go on when a pod is stopped, before another pod goes on with it."""
    platform: Platform = Platform()
    """Overrides of the operator's settings."""


class AgentSpec(Template):
    """What runs, how much of it, and how a new version comes in."""

    model_config = rules(
        (
            "self.runtime != 'native' || has(self.executor) || has(self.command)",
            "spec.executor: is needed for runtime native, as package.module:Class",
        ),
        ("self.runtime == 'native' || !has(self.executor)", "spec.executor: is for runtime native"),
        ("self.runtime != 'native' || has(self.card)", "spec.card: is needed for runtime native"),
        ("self.runtime != 'sidecar' || has(self.image)", "spec.image: is needed for runtime sidecar"),
        (
            "self.runtime == 'sidecar' || (!has(self.port) && !has(self.probe))",
            "spec.port and spec.probe: are for runtime sidecar",
        ),
        (
            "(self.runtime == 'remote') == has(self.remote)",
            "spec.remote: is needed for runtime remote, and is for it alone",
        ),
        (
            "self.runtime != 'remote' || !(has(self.image) || has(self.command) || has(self.args) || has(self.env) || has(self.envFrom) "
            "|| has(self.files) || has(self.replicas) || has(self.autoscaling) || has(self.queue) || has(self.card))",
            "spec.runtime: remote runs elsewhere; image, command, args, env, envFrom, files, replicas, autoscaling, queue and card do not "
            "go with it",
        ),
        (
            "!(has(self.replicas) && has(self.autoscaling))",
            "spec.replicas: give replicas or autoscaling, not both",
        ),
    )

    remote: RemoteAgent | None = None
    """Where the agent of `runtime: remote` is."""
    replicas: Replicas | None = None
    """Pods of each version that gets new contexts. With neither this nor `autoscaling` they are as many as others (a HorizontalPodAutoscaler
    of yours, `kubectl scale`) make them, at first one. With 0 nothing runs, and a new version, which cannot prove itself without pods, waits."""
    autoscaling: Autoscaling | None = None
    """Pods by what there is to do."""
    queue: Queue | None = None
    """Limits of the queue; without them they stay as they are, and `parley limits` changes them."""
    security: Security = Security()
    """Service account and network access."""
    rollout: RolloutPolicy = RolloutPolicy()
    """How a new version replaces the current one."""
    deletion_deadline: Duration = "60s"
    """How long the tasks of an Agent that is deleted may go on before its pods are stopped."""


class VersionState(Model):
    """One version as the Agent's status has it."""

    name: Name
    """Name of the AgentVersion."""
    version: Text
    """The version as it is published."""
    state: Literal["Inactive", "Ramping", "Current", "Draining", "Drained"]
    """Its state in the rollout table."""
    weight: float = 0
    """Its share of the new contexts, in per cent."""
    active_tasks: int | None = None
    """Tasks that have not ended; absent while it is not known."""
    ready: int = 0
    """Pods that take calls."""
    replicas: int = 0
    """Pods there are to be."""


class RolloutState(Model):
    """Where the last rollout stands."""

    target: Text = ""
    """Hash of the version that is rolled out."""
    version: Text = ""
    """That version as it is published."""
    phase: Literal["Waiting", "Stepping", "Paused", "Done", "Failed", "Aborted"] = "Waiting"
    """Waiting for pods, stepping up, paused, done, failed in the analysis, or aborted by somebody."""
    step: int = -1
    """The step that was reached, from 0; -1: none yet."""
    steps: int = 0
    """How many there are."""
    started: Annotated[str, Field(max_length=32)] = ""
    """When the rollout was begun."""
    step_started: Annotated[str, Field(max_length=32)] = ""
    """When the step was reached; the canary is judged by what has ended since the first."""
    first_step: Annotated[str, Field(max_length=32)] = ""
    """When the first step was reached."""
    looks: int = 0
    """How often the canary was judged by enough tasks."""
    judged: int = 0
    """By how many of its tasks it was judged last."""
    looked: Annotated[str, Field(max_length=32)] = ""
    """When that was."""
    passed: bool = False
    """Whether it passed when it was judged last."""
    unavailable: Annotated[str, Field(max_length=32)] = ""
    """Since when its pods take no calls though those of the current version do."""
    message: Annotated[str, Field(max_length=2048)] = ""
    """What it waits for, or why it ended so."""
    checked: Annotated[str, Field(max_length=32)] = ""
    """When that was said."""


class AgentStatus(Model):
    """How the Agent is. All of it is written by the operator."""

    observed_generation: int = 0
    """The generation of the Agent that all this is about."""
    phase: Text = ""
    """In one word: Pending, Ready, Progressing, Paused, Degraded, Deleting."""
    current_version: Text = ""
    """The version that gets the new contexts, but for the canary's."""
    canary_version: Text = ""
    """The version that is being tried."""
    canary_weight: float | None = None
    """Its share of the new contexts, in per cent; absent while there is no canary."""
    versions: Annotated[tuple[VersionState, ...], Field(max_length=64)] = ()
    """The current version, the canary, then the others, newest first."""
    rollout: RolloutState | None = None
    """Where the last rollout stands."""
    url: Text = ""
    """Where the agent answers in the cluster."""
    registry_url: Text = ""
    """Where the registry has it."""
    source: Text = ""
    """URL of the card by which an agent that runs elsewhere was registered."""
    replicas: int = 0
    """Pods of the current version."""
    ready: Text = ""
    """Of the current version, how many pods take calls of how many there are to be."""
    selector: Text = ""
    """Label selector of the agent's pods, for autoscalers."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """Accepted, Ready, Progressing, Degraded and RolledOut."""


class Agent(Model):
    """An A2A agent: the operator runs it, publishes it in the registry, and rolls new versions of it out."""

    spec: AgentSpec
    """What is wanted."""
    status: AgentStatus = AgentStatus()
    """How it is."""


def status_of(agent: Mapping[str, Any]) -> AgentStatus:
    """How an Agent was the last time; a status that cannot be read, as one of another release, says nothing."""
    try:
        return AgentStatus.read(agent.get("status") or {})
    except ValidationError:
        return AgentStatus()
