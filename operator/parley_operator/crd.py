"""From the models to CustomResourceDefinitions: structural schemas with CEL rules, printer columns and subresources."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parley_operator.resources.agent import Agent
from parley_operator.resources.base import GROUP, VERSION, Model
from parley_operator.resources.team import AgentTeam
from parley_operator.resources.version import AgentVersion

Json = dict[str, Any]

_KEPT = (
    *("description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "required"),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; one with a priority shows with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource. `names` are the longest names that its objects may have, and what they have to be like."""

    model: type[Model]
    plural: str
    short: tuple[str, ...]
    columns: tuple[Column, ...]
    longest: int
    scale: Mapping[str, str] | None = None

    @property
    def kind(self) -> str:
        return self.model.__name__

    @property
    def name(self) -> str:
        """Name of its definition."""
        return f"{self.plural}.{GROUP}"


_AGE = Column("Age", ".metadata.creationTimestamp", "date")

KINDS = (
    Kind(
        Agent,
        "agents",
        ("ag",),
        (
            Column("Phase", ".status.phase"),
            Column("Ready", ".status.ready"),
            Column("Current", ".status.currentVersion"),
            Column("Canary", ".status.canaryVersion"),
            Column("Weight", ".status.canaryWeight", "number"),
            _AGE,
            Column("Runtime", ".spec.runtime", priority=1),
            Column("Image", ".spec.image", priority=1),
            Column("URL", ".status.url", priority=1),
            Column("Registry", ".status.registryUrl", priority=1),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        ),
        50,
        {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ),
    Kind(
        AgentVersion,
        "agentversions",
        ("agv",),
        (
            Column("Agent", ".spec.agent"),
            Column("Version", ".spec.version"),
            Column("State", ".status.state"),
            Column("Weight", ".status.weight", "number"),
            Column("Tasks", ".status.activeTasks", "integer"),
            Column("Ready", ".status.ready", "integer"),
            Column("Pods", ".status.replicas", "integer"),
            _AGE,
            Column("Image", ".spec.template.image", priority=1),
            Column("Message", ".status.message", priority=1),
        ),
        63,
    ),
    Kind(
        AgentTeam,
        "agentteams",
        ("team",),
        (
            Column("Phase", ".status.phase"),
            Column("Ready", ".status.ready"),
            Column("URL", ".status.url"),
            _AGE,
        ),
        37,
    ),
)


def definition(kind: Kind) -> Json:
    """The CustomResourceDefinition of a kind."""
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}} | ({"scale": dict(kind.scale)} if kind.scale else {}),
        "additionalPrinterColumns": [_column(one) for one in kind.columns],
        "schema": {"openAPIV3Schema": schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.name, "labels": {"app.kubernetes.io/part-of": "parley"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "shortNames": list(kind.short),
                "categories": ["parley"],
            },
            "versions": [version],
        },
    }


def schema(kind: Kind) -> Json:
    """The structural schema of a kind's objects."""
    told = kind.model.model_json_schema(by_alias=True)
    found = structural(told, told.get("$defs", {}))
    found["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        **found["properties"],
    }
    found["x-kubernetes-validations"] = [
        {
            "rule": f"self.metadata.name.size() <= {kind.longest} && "
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "message": f"metadata.name: at most {kind.longest} lower-case letters, digits and dashes, a letter first; other names "
            "are made from it",
        }
    ]
    return found


def structural(told: Mapping[str, Any], defs: Mapping[str, Any]) -> Json:
    """What pydantic says of a type as Kubernetes wants to have it: no references, no null, no titles, plain defaults alone."""
    merged = _resolved(told, defs)
    out: Json = {key: merged[key] for key in _KEPT if key in merged}
    out |= {key: value for key, value in merged.items() if key.startswith("x-kubernetes-")}
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    if "const" in merged:
        out["enum"] = [merged["const"]]
    if merged.get("x-kubernetes-int-or-string"):
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    for edge, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if edge in merged:
            out |= {bound: merged[edge], edge: True}
    default = merged.get("default")
    if isinstance(default, bool | int | float) or (isinstance(default, str) and default):
        out["default"] = default
    if "properties" in merged:
        out["properties"] = {name: structural(one, defs) for name, one in merged["properties"].items()}
    if isinstance(merged.get("additionalProperties"), Mapping):
        out["additionalProperties"] = structural(merged["additionalProperties"], defs)
    if "items" in merged:
        out["items"] = structural(merged["items"], defs)
    return out


def _resolved(told: Mapping[str, Any], defs: Mapping[str, Any]) -> Json:
    """The schema with the one that it refers to, or the one that is not null, put into it; what is said here counts first."""
    choices = [one for one in told.get("anyOf", ()) if one.get("type") != "null"]
    if "$ref" in told:
        below = defs[told["$ref"].rpartition("/")[2]]
    elif len(choices) == 1:
        below = choices[0]
    else:
        return dict(told)
    return _resolved(below, defs) | {key: one for key, one in told.items() if key not in ("$ref", "anyOf")}


def _column(column: Column) -> Json:
    shown = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return shown | ({"priority": column.priority} if column.priority else {})
