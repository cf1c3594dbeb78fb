"""Agents as the command shows them: as words of others, without anything that a terminal would act on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from parley_registry.client import Audited, Entry, Page

STALE = "this is stale: Nacos, where the registry has it from, cannot be asked now"
_DIGEST = 12
"""Characters of a digest that are shown."""


def entry_json(entry: "Entry") -> dict[str, Any]:
    """An entry as one JSON object; the card as in the protocol."""
    from dataclasses import asdict

    from google.protobuf.json_format import MessageToDict

    return {
        "namespace": entry.namespace,
        "name": entry.name,
        "version": entry.version,
        "latest": entry.latest,
        "health": entry.health,
        "external": entry.external,
        "updated": entry.updated,
        "signature": asdict(entry.signature),
        "owner": entry.owner,
        "instances": [asdict(one) for one in entry.instances],
        "card": MessageToDict(entry.card),
    }


def put_entries(entries: "Sequence[Entry]") -> None:
    """Each as a line of JSON."""
    from parley_cli.lines import put_json

    for entry in entries:
        put_json(entry_json(entry))


def put_page(page: "Page") -> None:
    """Each hit as a line of JSON, with its score and reasons."""
    from parley_cli.lines import put_json

    for hit in page.entries:
        put_json({**entry_json(hit.entry), "score": hit.score, "reasons": list(hit.reasons)})


def show_page(page: "Page") -> None:
    """A table of hits, and why each is one."""
    show_entries([hit.entry for hit in page.entries], [", ".join(hit.reasons) for hit in page.entries])
    if page.total > len(page.entries):
        typer.echo(f"{len(page.entries)} of {page.total}; narrow the search or raise --limit", err=True)
    if any(hit.entry.stale for hit in page.entries):
        typer.echo(STALE, err=True)
    for note in page.notes:
        typer.echo(note, err=True)


def show_entry(entry: "Entry") -> None:
    """All that a person wants to know of an agent."""
    from parley_cli.render import clean

    if entry.stale:
        typer.echo(STALE, err=True)
    card = entry.card
    where = "" if entry.namespace == "public" else f"{entry.namespace}/"
    latest = "  latest" if entry.latest else ""
    typer.echo(clean(f"{where}{entry.name} {entry.version}", 1000) + f"  {entry.health}{latest}")
    typer.echo(f"  {clean(card.description, 1000)}")
    for interface in card.supported_interfaces:
        spoken = f"(A2A {clean(interface.protocol_version)})"
        typer.echo(f"  {clean(interface.protocol_binding):<10} {clean(interface.url)}  {spoken}")
    for skill in card.skills:
        typer.echo(f"  skill {clean(skill.id)}: {clean(skill.description, 1000)}")
        if skill.input_modes or skill.output_modes:
            typer.echo(f"    {clean(', '.join(skill.input_modes))} → {clean(', '.join(skill.output_modes))}")
    typer.echo(f"  signature {_worth(entry)}")
    if entry.owner:
        typer.echo(f"  owner {clean(entry.owner)}")
    for instance in entry.instances:
        typer.echo(f"  instance {clean(instance.id)} at {clean(instance.url)}")


def show_entries(entries: "Sequence[Entry]", notes: Sequence[str]) -> None:
    """A table of entries, with a note to each."""
    from rich.table import Table
    from rich.text import Text

    from parley_cli.render import clean, console

    if not entries:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("agent", "version", "", "health", "skills", ""):
        table.add_column(column)
    for entry, note in zip(entries, notes, strict=True):
        where = "" if entry.namespace == "public" else f"{entry.namespace}/"
        skills = ", ".join(skill.id for skill in entry.card.skills)
        latest = "latest" if entry.latest else ""
        cells = (f"{where}{entry.name}", entry.version, latest, entry.health, skills, note)
        table.add_row(*(Text(clean(cell, 120)) for cell in cells))
    console().print(table)


def show_trail(lines: "Sequence[Audited]") -> None:
    """Two lines for each change, so that they fit a terminal: when, what and of which version; who, and what it changed."""
    from datetime import datetime

    from parley_cli.render import clean

    for line in lines:
        when = datetime.fromtimestamp(line.at).strftime("%Y-%m-%d %H:%M:%S")
        where = "" if line.namespace == "public" else f"{line.namespace}/"
        about = clean(f"{where}{line.name} {line.version}", 120)
        change = _change(line)
        typer.echo(f"{when}  {clean(line.action):<8}  {about}" + (f"  {change}" if change else ""))
        said = f": {clean(line.detail, 1000)}" if line.detail else ""
        place = f" from {clean(line.remote)}" if line.remote else ""
        typer.echo(f"    by {clean(line.actor, 200) or 'local'}{place}{said}")


def _change(line: "Audited") -> str:
    """What was there before and after."""
    from parley_cli.render import clean

    if line.action == "publish" and line.before == line.after:
        return "as it was, signed or announced anew"
    before, after = (clean(_short(one), 60) for one in (line.before, line.after))
    return f"{before} → {after}" if before else after


def _short(text: str) -> str:
    return text[:_DIGEST] if len(text) == 64 and not set(text) - set("0123456789abcdef") else text


def _worth(entry: "Entry") -> str:
    """What the card's signatures are worth, in words."""
    from parley_cli.render import clean

    found = entry.signature
    key = clean(found.key_id, 120)
    return {
        "verified": f"verified: by {clean(found.signer, 120)}, key {key}",
        "invalid": f"INVALID: the card is not what key {key} of {clean(found.signer, 120)} signed",
        "untrusted": f"untrusted: by key {key}, which the registry does not know",
        "none": "none",
    }[found.state]
