"""A prompt as the registry takes it: form and size, with every fault found in one go.

What a prompt says is data of another party: it is checked, kept, shown as text, and never followed by the registry.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from parley_registry.card import MAX_NAME, NAMESPACE
from parley_registry.errors import Fault, PromptRejected
from parley_registry.prompts.prompt import LATEST, AgentVersion, PromptVersion, Variable
from parley_registry.prompts.template import NAME, placeholders
from parley_registry.prompts.wire import with_digest
from parley_registry.versions import is_version

MAX_TEMPLATE = 64 * 1024
"""Longest template, in bytes of UTF-8."""
MAX_DESCRIPTION = 1024
MAX_DEFAULT = 4096
MAX_VARIABLES = 64
MAX_HINTS = 4096
"""Longest hints, in bytes of JSON."""
MAX_VERSIONS = 500
"""Versions of one prompt."""
MAX_LABELS = 32
"""Labels of one prompt."""
MAX_BINDINGS = 64
"""Agent versions with a version of one prompt of their own."""
PROMPT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What the name of a prompt looks like."""
LABEL = r"^[a-z][a-z0-9._-]{0,63}$"
"""What a label looks like."""

_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[\ud800-\udfff]")
_MEMBERS = frozenset(
    {"namespace", "name", "version", "template", "variables", "description", "hints", "author", "labels"}
)
_VARIABLE_MEMBERS = frozenset({"name", "description", "default", "required"})


def check_prompt(told: Any, *, now: float) -> tuple[PromptVersion, tuple[str, ...]]:
    """A prompt's version given as JSON, and the labels it is to get. Raises PromptRejected with every fault.

    Variables that the template uses and nobody declared are declared as required.
    """
    if not isinstance(told, Mapping):
        raise _rejected("the prompt", [Fault("", "must be an object with name, version and template")])
    faults = [
        Fault(str(key)[:64], "is no member of a prompt; leave it out") for key in told if key not in _MEMBERS
    ]
    texts = {
        "namespace": _text(told, "namespace", faults, least=1, default="public"),
        "name": _text(told, "name", faults, least=1, default=None),
        "version": _text(told, "version", faults, least=1, default=None),
        "template": _text(told, "template", faults, least=1, default=None, most=MAX_TEMPLATE),
        "description": _text(told, "description", faults, most=MAX_DESCRIPTION),
        "author": _text(told, "author", faults, most=MAX_NAME),
    }
    faults += _named(texts)
    variables = tuple(_variables(told.get("variables", ()), faults))
    labels = _labels(told.get("labels", ()), faults)
    hints = _hints(told.get("hints", {}), faults)
    variables = _completed(texts["template"], variables, faults)
    if faults:
        raise _rejected(f"the prompt {texts['name'][:64]!r}" if texts["name"] else "the prompt", faults)
    made = PromptVersion(variables=variables, hints=hints, created=now, digest="", **texts)
    return with_digest(made), labels


def check_label(label: str) -> None:
    """Raises PromptRejected for what cannot be a label."""
    if fault := _label_fault(label):
        raise _rejected("the label", [Fault("label", fault)])


def check_binding(agent: AgentVersion) -> None:
    """Raises PromptRejected for what cannot be an agent's version, with every fault."""
    faults = []
    if not agent.agent or len(agent.agent) > MAX_NAME or _UNREADABLE.search(agent.agent):
        faults.append(Fault("agent", f"must be the name of an agent, 1 to {MAX_NAME} characters"))
    if not is_version(agent.version):
        faults.append(Fault("agentVersion", "must be a semantic version; write it like 2.0.0"))
    if faults:
        raise _rejected("the binding", faults)


def _text(
    told: Mapping[str, Any],
    name: str,
    faults: list[Fault],
    *,
    least: int = 0,
    most: int = MAX_NAME,
    default: str | None = "",
) -> str:
    value = told.get(name, default)
    if value is None:
        faults.append(Fault(name, "is required"))
    elif not isinstance(value, str):
        faults.append(Fault(name, "must be a string"))
    elif len(value) < least:
        faults.append(Fault(name, "must not be empty"))
    elif found := _UNREADABLE.search(value):
        faults.append(Fault(name, f"has a character at {found.start()} that is no text"))
    elif len(value.encode()) > most:
        faults.append(Fault(name, f"is {len(value.encode())} bytes long; at most {most} are taken"))
    else:
        return value
    return ""


def _named(texts: Mapping[str, str]) -> Iterator[Fault]:
    for field, pattern, what in (
        ("namespace", NAMESPACE, "letters, digits, '.', '_' and '-', at most 63"),
        ("name", PROMPT_NAME, "letters, digits, '.', '_' and '-', at most 64"),
    ):
        if texts[field] and not re.match(pattern, texts[field]):
            yield Fault(field, f"must be made of {what}")
    if texts["version"] and not is_version(texts["version"]):
        yield Fault("version", "is not a semantic version; write it like 1.2.3 or 1.2.3-rc.1")


def _variables(told: Any, faults: list[Fault]) -> Iterator[Variable]:
    if not isinstance(told, Sequence) or isinstance(told, str):
        faults.append(Fault("variables", "must be a list"))
        return
    if len(told) > MAX_VARIABLES:
        faults.append(Fault("variables", f"has {len(told)} members; at most {MAX_VARIABLES} are taken"))
        return
    names: set[str] = set()
    for number, one in enumerate(told):
        here = f"variables[{number}]"
        if not isinstance(one, Mapping):
            faults.append(Fault(here, "must be an object with a name"))
            continue
        inner = [
            Fault(str(key)[:64], "is no member of a variable; leave it out")
            for key in one
            if key not in _VARIABLE_MEMBERS
        ]
        name = _text(one, "name", inner, least=1, default=None)
        if name and not re.fullmatch(NAME, name):
            inner.append(
                Fault("name", "must begin with a letter or '_' and go on with those, digits, '.', '-'")
            )
            name = ""
        if name and name in names:
            inner.append(Fault("name", f"{name!r} is declared twice"))
        names.add(name)
        required = one.get("required", "default" not in one)
        if not isinstance(required, bool):
            inner.append(Fault("required", "must be true or false"))
        elif required and "default" in one:
            inner.append(Fault("required", "contradicts the default; leave one of them out"))
        description = _text(one, "description", inner, most=MAX_DESCRIPTION)
        default = _text(one, "default", inner, most=MAX_DEFAULT)
        faults += [Fault(f"{here}.{fault.field}", fault.message) for fault in inner]
        yield Variable(name, description, default, bool(required))


def _completed(template: str, declared: tuple[Variable, ...], faults: list[Fault]) -> tuple[Variable, ...]:
    used, others = placeholders(template)
    faults += [
        Fault(
            "template", f"has {tag[:80]!r}, which is no variable; only {{{{name}}}} is known, without logic"
        )
        for tag in others
    ]
    known = {one.name for one in declared}
    faults += [
        Fault("variables", f"declares {one.name!r}, which the template does not use")
        for one in declared
        if template and one.name and one.name not in used
    ]
    all_of_them = declared + tuple(Variable(name) for name in used if name not in known)
    if len(all_of_them) > MAX_VARIABLES >= len(declared):
        faults.append(
            Fault("template", f"uses {len(all_of_them)} variables; at most {MAX_VARIABLES} are taken")
        )
    return all_of_them


def _labels(told: Any, faults: list[Fault]) -> tuple[str, ...]:
    if not isinstance(told, Sequence) or isinstance(told, str):
        faults.append(Fault("labels", "must be a list of strings"))
        return ()
    for number, one in enumerate(told[:MAX_LABELS]):
        if fault := _label_fault(one):
            faults.append(Fault(f"labels[{number}]", fault))
    return tuple(dict.fromkeys(one for one in told if isinstance(one, str)))


def _label_fault(label: Any) -> str:
    if not isinstance(label, str) or not re.match(LABEL, label):
        return (
            "must begin with a small letter and go on with small letters, digits, '.', '_', '-', at most 64"
        )
    return f"{LATEST!r} cannot be set; it is always the highest release" if label == LATEST else ""


def _hints(told: Any, faults: list[Fault]) -> Mapping[str, Any]:
    if not isinstance(told, Mapping):
        faults.append(Fault("hints", "must be an object"))
        return {}
    try:
        size = len(orjson.dumps(told))
    except (TypeError, RecursionError):
        faults.append(Fault("hints", "must be plain JSON"))
        return {}
    if size > MAX_HINTS:
        faults.append(Fault("hints", f"is {size} bytes of JSON; at most {MAX_HINTS} are taken"))
    return told


def _rejected(called: str, faults: Sequence[Fault]) -> PromptRejected:
    counted = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    return PromptRejected(f"{called} has {counted}; correct what is named and try again", tuple(faults))
