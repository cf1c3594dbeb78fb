"""The template language: `{{name}}` stands for a value, everything else is text.

It is what Nacos's own prompts, Langfuse and MLflow have in common: mustache's variables without its logic. Nothing
is executed, values are never looked at again, so what is in them cannot reach anything.
"""

import re
from collections.abc import Mapping

from parley_registry.errors import NotRendered

NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
"""What the name of a variable looks like."""
MAX_RENDERED = 1024 * 1024
"""Longest result, in characters."""

_TAG = re.compile(r"\{\{([^{}\n]{0,256})\}\}")
_VARIABLE = re.compile(rf"[ \t]*({NAME})[ \t]*")


def placeholders(template: str) -> tuple[list[str], list[str]]:
    """The names of the variables that a template uses, in order, and the tags in it that are no variables."""
    names, others = [], []
    for tag in _TAG.finditer(template):
        found = _VARIABLE.fullmatch(tag[1])
        if found:
            names.append(found[1])
        else:
            others.append(tag[0])
    return list(dict.fromkeys(names)), list(dict.fromkeys(others))


def filled(called: str, template: str, defaults: Mapping[str, str], values: Mapping[str, object]) -> str:
    """The template with values put in, else defaults. Raises NotRendered, which calls it `called`."""
    names, _ = placeholders(template)
    given = {name: value for name, value in values.items() if value is not None and name in names}
    wrong = [name for name, value in given.items() if not isinstance(value, str | int | float)]
    missing = [name for name in names if name not in given and name not in defaults]
    said = []
    if missing:
        said.append(f"needs {', '.join(missing)}, which {'has' if len(missing) == 1 else 'have'} no value")
    for name in wrong:
        said.append(f"takes text or a number as {name}, not {type(given[name]).__name__}")
    if said:
        raise NotRendered(f"{called} {'; it '.join(said)}; every variable without a default needs a value")
    texts = {**defaults, **{name: str(value) for name, value in given.items()}}

    def value(tag: re.Match[str]) -> str:
        found = _VARIABLE.fullmatch(tag[1])
        return texts[found[1]] if found else tag[0]

    length = len(template) + sum(len(value(tag)) - len(tag[0]) for tag in _TAG.finditer(template))
    if length > MAX_RENDERED:
        raise NotRendered(
            f"{called} would be {length} characters long; at most {MAX_RENDERED} are made, so give shorter values"
        )
    return _TAG.sub(value, template)
