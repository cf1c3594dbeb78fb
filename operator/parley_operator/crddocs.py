"""The reference of the resources as a page of the manual, from their schemas."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from parley_operator.crd import Kind, schema
from parley_operator.resources.base import API_VERSION

_HEAD = f"""# Resources in Kubernetes

Written by `python -m parley_operator.crds` from the models in `operator/parley_operator/resources`; `kubectl explain` says the same. All are
of `{API_VERSION}`. A field that is not *required* may be left out; a length of time is written like `90s`, `10m` or `1h30m`.
"""


def page(kinds: Sequence[Kind]) -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *(_kind(one) for one in kinds)])


def _kind(kind: Kind) -> str:
    told = schema(kind)
    short = ", ".join(f"`{name}`" for name in (kind.plural, *kind.short))
    lines = [f"## {kind.kind}", "", told["description"], "", f"In `kubectl`: {short}.", ""]
    for part in ("spec", "status"):
        lines += [f"### {kind.kind} {part}", "", "| field | | |", "|---|---|---|"]
        lines += _rows(told["properties"][part], part)
        lines.append("")
    said = [f"- {text}" for text in dict.fromkeys(_messages(told))]
    if said:
        lines += [
            f"### What is refused of a {kind.kind}",
            "",
            "Besides values out of their range:",
            "",
            *said,
            "",
        ]
    return "\n".join(lines)


def _rows(told: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, one in told.get("properties", {}).items():
        here = f"{path}.{name}"
        required = ", required" if name in told.get("required", ()) else ""
        text = one.get("description", "").replace("|", "\\|")
        yield f"| `{here.partition('.')[2]}` | {_type(one)}{required} | {text}{_bounds(one)} |"
        yield from _rows(one, here)
        if "items" in one:
            yield from _rows(one["items"], f"{here}[]")


def _type(told: Mapping[str, Any]) -> str:
    if told.get("x-kubernetes-int-or-string"):
        return "quantity"
    if told.get("type") == "array":
        return f"list of {_type(told['items'])}"
    if "additionalProperties" in told:
        return f"map of {_type(told['additionalProperties'])}"
    return str(told.get("type", "any"))


def _bounds(told: Mapping[str, Any]) -> str:
    said = []
    if "enum" in told:
        said.append("One of " + ", ".join(f"`{one}`" if one else '`""`' for one in told["enum"]) + ".")
    low, high = told.get("minimum"), told.get("maximum")
    if low is not None or high is not None:
        lower = f"more than {low}" if told.get("exclusiveMinimum") else f"at least {low}"
        upper = f"less than {high}" if told.get("exclusiveMaximum") else f"at most {high}"
        bounds = [text for text, one in ((lower, low), (upper, high)) if one is not None]
        said.append(", ".join(bounds).capitalize() + ".")
    if "default" in told:
        said.append(
            f"Default: `{str(told['default']).lower() if isinstance(told['default'], bool) else told['default']}`."
        )
    return " ".join(["", *said])


def _messages(told: Mapping[str, Any]) -> Iterator[str]:
    for one in told.get("x-kubernetes-validations", ()):
        yield one["message"]
    for below in (*told.get("properties", {}).values(), told.get("items"), told.get("additionalProperties")):
        if isinstance(below, Mapping):
            yield from _messages(below)
