"""Writes the parts of cli.md and api.md that say what the code says: `python docs/generate.py`.

Each stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; the words around are written by hand. A test fails
when a part is not as it would be written now.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from annotated_types import Ge, Gt, Le
from pydantic_settings import BaseSettings
from typer.core import TyperArgument, TyperGroup, TyperOption

import parley_cli
from parley_agents.orchestrator.settings import OrchestratorSettings
from parley_agents.settings import AgentSettings
from parley_cli import events, exits
from parley_cli.main import app
from parley_core import errors as core_errors
from parley_registry import client as registry_client
from parley_registry import errors as registry_errors
from parley_registry.settings import RegistrySettings
from parley_runtime import host, steps
from parley_runtime import prompts as runtime_prompts
from parley_runtime.settings import HostSettings

FOLDER = Path(__file__).parent
WIDTH = 100

# -- the command


def commands() -> str:
    """Every subcommand: usage, what it does, arguments and options."""
    every = list(_commands(typer.main.get_command(app), "parley"))
    lines = ["| command | |", "|---|---|"]
    for name, command in every:
        if not isinstance(command, TyperGroup):
            summary = inspect.cleandoc(command.help or "").split("\n\n")[0]
            lines.append(f"| [`{name}`](#{name.replace(' ', '-')}) | {_cell(summary)} |")
    lines.append("")
    for name, command in every:
        if not isinstance(command, TyperGroup):
            lines += _command(name, command)
    return "\n".join(lines)


def exit_codes() -> str:
    """The exit codes and what they say."""
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {code} | {text} |" for code, text in exits.MEANINGS.items())]
    )


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    if isinstance(command, TyperGroup):
        for key, below in command.commands.items():
            yield from _commands(below, f"{name} {key}")


def _command(name: str, command: Any) -> list[str]:
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    options = [one for one in command.params if isinstance(one, TyperOption) and not one.hidden]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *map(_argument, arguments)])
    lines = [f"### {name}", "", "```", usage, "```", "", _paragraphs(command.help or ""), ""]
    if arguments or options:
        lines += ["| | environment | default | |", "|---|---|---|---|"]
    lines += [_row(f"`{_argument(one)}`", one) for one in arguments]
    lines += [_row(_flags(one), one) for one in options]
    return [*lines, ""]


def _argument(argument: TyperArgument) -> str:
    name = (argument.name or "").upper()
    return (name if argument.required else f"[{name}]") + ("…" if argument.nargs == -1 else "")


def _flags(option: TyperOption) -> str:
    names = ", ".join(f"`{flag}`" for flag in sorted(option.opts, key=len, reverse=True))
    if option.is_flag:
        return names
    kinds = {int: "N", float: "NUMBER", Path: "PATH"}
    kind = next((name for one, name in kinds.items() if str(one.__name__) in _kind(option)), "TEXT")
    return f"{names} {_cell(option.metavar or kind)}"


def _kind(option: TyperOption) -> str:
    annotation = option.type_descriptor.annotation
    return getattr(annotation, "__name__", str(annotation))


def _row(name: str, parameter: TyperArgument | TyperOption) -> str:
    text, _, told = (parameter.help or "").partition(" Default: ")
    default = "" if parameter.default in (None, "", False) else f"`{parameter.default}`"
    variables = parameter.envvar if isinstance(parameter.envvar, list) else [parameter.envvar]
    variable = " ".join(f"`{one}`" for one in variables if one)
    return (
        f"| {name} | {variable} | {default or _cell(told.rstrip('.'))} | {_cell(text)}{_range(parameter)} |"
    )


def _range(parameter: TyperArgument | TyperOption) -> str:
    if parameter.min is None:
        return ""
    high = parameter.max
    return f" At least {parameter.min:g}." if high is None else f" {parameter.min:g} to {high:g}."


# -- settings


def settings(kind: type[BaseSettings], *, without: type[BaseSettings] | None = None) -> str:
    """A table of settings with their variables, defaults and meaning."""
    told = {key: text for key, _, text in _fields(_class_node(kind))}
    prefix = str(kind.model_config.get("env_prefix", ""))
    lines = ["| setting | environment | default | |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        if without and name in without.model_fields:
            continue
        alias = getattr(field.validation_alias, "choices", [f"{prefix}{name.upper()}"])[-1]
        lines.append(
            f"| `{name}` | `{alias}` | {_default(field.get_default(call_default_factory=True))} | {_cell(told[name])}{_bounds(field.metadata)} |"
        )
    return "\n".join(lines)


def _default(value: object) -> str:
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value:g}`" if isinstance(value, float) and value < 1e6 else f"`{value}`"


def _bounds(metadata: list[Any]) -> str:
    said = []
    for one in metadata:
        if isinstance(one, Ge):
            said.append(f"at least {one.ge}")
        elif isinstance(one, Gt):
            said.append(f"above {one.gt}")
        elif isinstance(one, Le):
            said.append(f"at most {one.le}")
    return f" ({', '.join(said)})" if said else ""


# -- Python


def classes(module: ModuleType, *names: str, level: int = 3) -> str:
    """Classes of a module: docstring, fields or constructor, public methods."""
    return "\n".join(_class(module, name, level) for name in names)


def functions(module: ModuleType, *names: str, level: int = 3) -> str:
    """Functions of a module."""
    lines = []
    for name in names:
        node = _node(getattr(module, name))
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        lines += [f"{'#' * level} {name}", "", _import(module, name), "", *_function(node, node.name)]
    return "\n".join(lines)


def exceptions(*modules: ModuleType) -> str:
    """A table of the exceptions that modules define."""
    lines = ["| | raised when |", "|---|---|"]
    for module in modules:
        for name, found in vars(module).items():
            own = isinstance(found, type) and found.__module__ == module.__name__
            if own and issubclass(found, Exception):
                base = found.__bases__[0].__name__
                lines.append(
                    f"| `{module.__name__}.{name}` ({base}) | {_cell(_paragraphs(found.__doc__ or ''))} |"
                )
    return "\n".join(lines)


def job_events() -> str:
    """The events of a job as the JSON lines they become."""
    lines = []
    for found in vars(events).values():
        if isinstance(found, type) and issubclass(found, events.Event) and found.kind:
            fields = ", ".join(f"`{key}` {kind}" for key, kind, _ in _fields(_class_node(found)))
            lines += [
                f"**`{found.kind}`** (`{found.__name__}`): {_paragraphs(found.__doc__ or '')}  ",
                fields,
                "",
            ]
    return "\n".join(lines)


def _class(module: ModuleType, name: str, level: int) -> str:
    node = _class_node(getattr(module, name))
    lines = [
        f"{'#' * level} {name}",
        "",
        _import(module, name),
        "",
        _paragraphs(ast.get_docstring(node) or ""),
        "",
    ]
    fields = [row for row in _fields(node) if not row[0].startswith("_")]
    if fields:
        rows = [f"    {key}: {kind}" + (f"  # {text}" if text else "") for key, kind, text in fields]
        lines += ["```python", f"class {name}:", *rows, "```", ""]
    for one in node.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and _public(one):
            lines += _function(one, name if one.name == "__init__" else one.name)
    return "\n".join(lines)


def _public(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.name == "__init__" or (not node.name.startswith("_") and ast.get_docstring(node) is not None)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> list[str]:
    decorators = [ast.unparse(one) for one in node.decorator_list]
    if "property" in decorators:
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        signature = f"@property\n{name}{returns}"
    else:
        arguments = [one for one in _arguments(node.args) if one not in ("self", "cls")]
        prefix = "async " if isinstance(node, ast.AsyncFunctionDef) and not _yields(node) else ""
        returns = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
        signature = f"{prefix}{name}({', '.join(arguments)}){returns}"
        if len(signature) > WIDTH:
            rows = "".join(f"    {one},\n" for one in arguments)
            signature = f"{prefix}{name}(\n{rows}){returns}"
    said = ast.get_docstring(node) or ""
    return ["```python", signature, "```", *([_paragraphs(said)] if said else []), ""]


def _yields(node: ast.AsyncFunctionDef) -> bool:
    return any(isinstance(one, ast.Yield) for one in ast.walk(node))


def _arguments(given: ast.arguments) -> Iterator[str]:
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    for one, default in zip(plain, defaults, strict=True):
        yield _with_default(one, default)
    if given.vararg:
        yield f"*{ast.unparse(given.vararg)}"
    elif given.kwonlyargs:
        yield "*"
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _with_default(one, default)


def _with_default(one: ast.arg, default: ast.expr | None) -> str:
    if default is None:
        return ast.unparse(one)
    return (
        f"{ast.unparse(one)} = {ast.unparse(default)}"
        if one.annotation
        else f"{one.arg}={ast.unparse(default)}"
    )


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Name, type and docstring of a dataclass's fields."""
    for number, one in enumerate(node.body):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            kind = ast.unparse(one.annotation)
            if not kind.startswith("ClassVar"):
                yield one.target.id, kind, _string_at(node.body, number + 1)


def _string_at(body: list[ast.stmt], place: int) -> str:
    one = body[place] if place < len(body) else None
    if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str):
        return inspect.cleandoc(one.value.value)
    return ""


def _node(found: Any) -> ast.stmt:
    """The definition of a class or function."""
    return ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]


def _class_node(found: type) -> ast.ClassDef:
    node = _node(found)
    assert isinstance(node, ast.ClassDef)
    return node


def _import(module: ModuleType, name: str) -> str:
    place = "parley_cli" if name in parley_cli.__all__ else module.__name__
    return f"`from {place} import {name}`"


# -- text


def _paragraphs(text: str) -> str:
    """A docstring as Markdown: the lines of a paragraph joined, indented examples as code."""
    out = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("    "):
            out.append(f"```python\n{textwrap.dedent(part)}\n```")
        else:
            out.append(" ".join(part.split("\n")))
    return "\n\n".join(out)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# -- pages

PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "exit codes": exit_codes,
    "events": job_events,
    "registry settings": lambda: settings(RegistrySettings),
    "agent settings": lambda: settings(AgentSettings),
    "orchestrator settings": lambda: settings(OrchestratorSettings, without=AgentSettings),
    "client": lambda: classes(parley_cli, "Parley"),
    "run_sync": lambda: functions(parley_cli, "run_sync"),
    "results": lambda: classes(sys.modules[parley_cli.JobResult.__module__], "JobResult", "StepResult"),
    "host": lambda: classes(host, "AgentHost"),
    "host settings": lambda: settings(HostSettings),
    "step": lambda: functions(steps, "step"),
    "prompt": lambda: functions(runtime_prompts, "prompt"),
    "prompts": lambda: classes(registry_client, "Prompts", "PromptVersion", "Prompt"),
    "registry client": lambda: classes(registry_client, "RegistryClient"),
    "registry values": lambda: classes(registry_client, "Entry", "Instance", "Page", "Hit", "Change"),
    "errors": lambda: exceptions(core_errors, registry_errors),
}
PAGES = ("cli.md", "api.md")


def written(page: str) -> str:
    """A page as it would be written now. Raises KeyError for a part that nobody writes."""

    def part(found: re.Match[str]) -> str:
        return f"<!-- begin {found[1]} -->\n{PARTS[found[1]]().rstrip()}\n<!-- end {found[1]} -->"

    text = (FOLDER / page).read_text()
    return re.sub(r"<!-- begin ([\w ]+) -->\n.*?<!-- end \1 -->", part, text, flags=re.DOTALL)


if __name__ == "__main__":
    for name in PAGES:
        (FOLDER / name).write_text(written(name))
