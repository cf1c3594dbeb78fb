"""What an agent's pods have: environment, files, resources, and where they run."""

from typing import Annotated, Literal

from pydantic import Field

from parley_operator.resources.base import Free, Labels, Model, Name, Quantity, Text, rules

EnvName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")]
FilePath = Annotated[str, Field(min_length=2, max_length=512, pattern=r"^/[^:]+$")]


class KeyRef(Model):
    """One key of a Secret or a ConfigMap."""

    name: Name
    """Name of the Secret or ConfigMap, in the Agent's namespace."""
    key: Annotated[str, Field(min_length=1, max_length=253)]
    """The key in it."""


class FieldRef(Model):
    """A field of the pod itself."""

    field_path: Annotated[str, Field(max_length=253)]
    """Path of the field, such as `metadata.name` or `status.podIP`."""


class EnvSource(Model):
    """Where the value of a variable comes from."""

    model_config = rules(
        (
            "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].filter(x, x).size() == 1",
            "valueFrom: give exactly one of secretKeyRef, configMapKeyRef and fieldRef",
        )
    )

    secret_key_ref: KeyRef | None = None
    """A key of a Secret. When its content changes, a new version of the agent is rolled out."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap. When its content changes, a new version of the agent is rolled out."""
    field_ref: FieldRef | None = None
    """A field of the pod."""


class EnvVar(Model):
    """A variable in the environment of the agent's container."""

    model_config = rules(
        ("!(has(self.value) && has(self.valueFrom))", "env: give a variable a value or valueFrom, not both"),
        (
            "!(self.name in ['PARLEY_VERSION', 'PARLEY_AGENT_NAME', 'PARLEY_AGENT_ID', 'PARLEY_SCOPE', 'PARLEY_LISTEN', 'PARLEY_CARD', "
            "'PARLEY_ROLE', 'PARLEY_PUBLIC_URL'])",
            "env: PARLEY_VERSION, _AGENT_NAME, _AGENT_ID, _SCOPE, _LISTEN, _CARD, _ROLE and _PUBLIC_URL are set by the operator",
        ),
    )

    name: EnvName
    """Name of the variable. Every option of `parley host` can be given as `PARLEY_…`, but those that the operator sets."""
    value: Annotated[str | None, Field(max_length=32768)] = None
    """Its value, as plain text. Secrets belong into `valueFrom`."""
    value_from: EnvSource | None = None
    """Where its value comes from instead."""


class EnvFrom(Model):
    """All keys of a Secret or ConfigMap as variables."""

    model_config = rules(
        ("has(self.secret) != has(self.configMap)", "envFrom: give exactly one of secret and configMap")
    )

    secret: Name | None = None
    """Name of a Secret."""
    config_map: Name | None = None
    """Name of a ConfigMap."""
    prefix: Annotated[str, Field(max_length=253)] = ""
    """What is put before each key."""


class Files(Model):
    """The keys of a Secret or ConfigMap as files."""

    model_config = rules(
        ("has(self.secret) != has(self.configMap)", "files: give exactly one of secret and configMap")
    )

    secret: Name | None = None
    """Name of a Secret."""
    config_map: Name | None = None
    """Name of a ConfigMap."""
    path: FilePath
    """Folder in which the files appear, read-only."""


class Resources(Model):
    """Processor and memory, as Kubernetes has them."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """What is set aside for the container: `cpu`, `memory`, …"""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """What it may have at most."""


class Toleration(Model):
    """A taint of nodes that the pods put up with."""

    key: Annotated[str, Field(max_length=253)] = ""
    """Key of the taint; empty: every one."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the value has to be the same, or the key only be there."""
    value: Annotated[str, Field(max_length=253)] = ""
    """Value of the taint."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Effect of the taint; empty: every one."""
    toleration_seconds: int | None = None
    """How long a pod stays after a NoExecute taint has come."""


class Placement(Model):
    """On which nodes the pods run."""

    node_selector: Labels = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints of nodes that are put up with."""
    affinity: Free = Field(default_factory=dict)
    """Affinity, as in a pod (`kubectl explain pod.spec.affinity`)."""
    topology_spread_constraints: Annotated[tuple[Free, ...], Field(max_length=16)] = ()
    """How pods are spread, as in a pod. By default each version's pods are spread over nodes as well as it goes."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    """Priority class of the pods."""


class Probe(Model):
    """How it is seen that a sidecar's server takes calls."""

    path: Text = "/.well-known/agent-card.json"
    """Path that answers with 2xx once it does."""
    start_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds that it may take for that after its start."""
