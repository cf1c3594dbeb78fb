"""Prompts as the command shows them: as words of others, without anything that a terminal would act on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from parley_registry.prompts.prompt import Prompt, PromptVersion


def put_prompts(prompts: "Sequence[Prompt]") -> None:
    """Each as a line of JSON."""
    from parley_cli.lines import put_json
    from parley_registry.prompts.wire import prompt_json

    for one in prompts:
        put_json(prompt_json(one))


def put_version(version: "PromptVersion") -> None:
    """One version as a line of JSON."""
    from parley_cli.lines import put_json
    from parley_registry.prompts.wire import version_json

    put_json(version_json(version))


def show_prompt(prompt: "Prompt") -> None:
    """A prompt and who gets which version of it."""
    from parley_cli.render import clean

    typer.echo(f"{prompt.name} latest {prompt.latest}")
    for note in prompt.versions:
        marks = [label for label, meant in sorted(prompt.labels.items()) if meant == note.version]
        marks += [f"for {who}" for who, meant in sorted(prompt.bindings.items()) if meant == note.version]
        by = f" by {note.author}" if note.author else ""
        said = f": {note.description}" if note.description else ""
        marked = f" [{', '.join(marks)}]" if marks else ""
        typer.echo("  " + clean(f"{note.version}{by}{said}{marked}", 1000))


def show_version(version: "PromptVersion") -> None:
    """One version with its variables and its text."""
    from parley_cli.render import clean

    typer.echo(clean(f"{version.name} {version.version} {version.description}", 1000))
    for one in version.variables:
        needed = "required" if one.required else f"default {one.default!r}"
        said = f": {one.description}" if one.description else ""
        typer.echo("  " + clean(f"{one.name} {needed}{said}", 1000))
    if version.hints:
        typer.echo("  " + clean(f"hints {dict(version.hints)}", 1000))
    typer.echo("")
    for line in version.template.splitlines():
        typer.echo("".join(c if c.isprintable() else " " for c in line))


def show_prompts(prompts: "Sequence[Prompt]") -> None:
    """A table of prompts."""
    from rich.table import Table
    from rich.text import Text

    from parley_cli.render import clean, console

    table = Table(box=None, pad_edge=False)
    for column in ("prompt", "latest", "labels", "bindings", "about"):
        table.add_column(column)
    for one in prompts:
        where = "" if one.namespace == "public" else f"{one.namespace}/"
        labels = ", ".join(f"{label} {version}" for label, version in sorted(one.labels.items()))
        bound = ", ".join(f"{agent} {version}" for agent, version in sorted(one.bindings.items()))
        cells = (f"{where}{one.name}", one.latest, labels, bound, one.description)
        table.add_row(*(Text(clean(cell, 120)) for cell in cells))
    console().print(table)
