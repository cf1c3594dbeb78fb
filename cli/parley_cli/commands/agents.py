"""`parley agents`: what is in the registry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parley_cli.options import Json, Misuse, Registry, TokenFile, complete, registry_of

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from parley_registry.client import Audited, Entry, RegistryClient

    Catalogue = AbstractAsyncContextManager[RegistryClient]

app = typer.Typer(no_args_is_help=True, help="Find agents in the registry.")

Limit = Annotated[int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=100, help="How many at most.")]
Name = Annotated[str, typer.Argument(help="The agent's name, or NAME@VERSION.")]


_STALE = "this is stale: Nacos, where the registry has it from, cannot be asked now"


def _catalogue(context: typer.Context, registry: str, token_file: Path | None) -> "Catalogue":
    from parley_cli.access import Access

    return Access.given(token_file).catalogue(registry_of(context.obj, registry))


@app.command("list")
def list_(
    context: typer.Context,
    limit: Limit = 100,
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """All agents, in their latest version."""
    complete(_search(_catalogue(context, registry, token_file), {"limit": limit, "latest": True}, as_json))


def _filter(variable: str, help: str) -> typer.models.OptionInfo:  # noqa: A002
    option: typer.models.OptionInfo = typer.Option(envvar=f"PARLEY_{variable}", metavar="VALUE", help=help)
    return option


Values = list[str] | None


@app.command()
def search(
    context: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(help="Words to look for; slips are forgiven.")] = None,
    skill: Annotated[Values, _filter("SKILL", "Id of a skill it must have.")] = None,
    tag: Annotated[Values, _filter("TAG", "Tag of one of its skills.")] = None,
    capability: Annotated[Values, _filter("CAPABILITY", "streaming, pushNotifications …")] = None,
    extension: Annotated[Values, _filter("EXTENSION", "URI of an extension it supports.")] = None,
    input_mode: Annotated[Values, _filter("INPUT_MODE", "Media type it takes.")] = None,
    output_mode: Annotated[Values, _filter("OUTPUT_MODE", "Media type it makes.")] = None,
    provider: Annotated[Values, _filter("PROVIDER", "Organisation that offers it.")] = None,
    binding: Annotated[Values, _filter("BINDING", "JSONRPC, HTTP+JSON or GRPC.")] = None,
    protocol_version: Annotated[Values, _filter("PROTOCOL_VERSION", "1.0 or 0.3.")] = None,
    security: Annotated[
        Values, _filter("SECURITY", "apiKey, http, oauth2, openIdConnect, mutualTLS or none.")
    ] = None,
    signature: Annotated[Values, _filter("SIGNATURE", "verified, untrusted, invalid or none.")] = None,
    owner: Annotated[Values, _filter("OWNER", "Whose it is.")] = None,
    version: Annotated[Values, _filter("AGENT_VERSION", "A version of it.")] = None,
    health: Annotated[Values, _filter("HEALTH", "up, down or unknown.")] = None,
    external: Annotated[
        bool | None,
        typer.Option("--external/--own", envvar="PARLEY_EXTERNAL", help="Registered by its URL, or not."),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", envvar="PARLEY_LATEST", help="Latest versions only.")
    ] = False,
    words_only: Annotated[
        bool, typer.Option("--words-only", envvar="PARLEY_WORDS_ONLY", help="Do not look for the meaning.")
    ] = False,
    limit: Limit = 20,
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """The agents for which all that is given holds, best first, and why. Of an option given several times, one value must."""
    wanted = {
        "text": " ".join(text or ()),
        "skill": skill,
        "tag": tag,
        "capability": capability,
        "extension": extension,
        "input_mode": input_mode,
        "output_mode": output_mode,
        "provider": provider,
        "binding": binding,
        "protocol_version": protocol_version,
        "security": security,
        "signature": signature,
        "owner": owner,
        "version": version,
        "health": health,
        "external": external,
        "latest": latest,
        "semantic": not words_only,
        "limit": limit,
    }
    complete(_search(_catalogue(context, registry, token_file), wanted, as_json))


async def _search(at: "Catalogue", wanted: dict[str, Any], as_json: bool) -> None:
    async with at as catalogue:
        page = await catalogue.search(**wanted)
    if as_json:
        from parley_cli.lines import put_json

        for hit in page.entries:
            put_json({**entry_json(hit.entry), "score": hit.score, "reasons": list(hit.reasons)})
        return
    _table([hit.entry for hit in page.entries], [", ".join(hit.reasons) for hit in page.entries])
    if page.total > len(page.entries):
        typer.echo(f"{len(page.entries)} of {page.total}; narrow the search or raise --limit", err=True)
    if not page.entries:
        typer.echo("no agent fits", err=True)
    if any(hit.entry.stale for hit in page.entries):
        typer.echo(_STALE, err=True)
    for note in page.notes:
        typer.echo(note, err=True)


@app.command()
def show(
    context: typer.Context,
    name: Name,
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """An agent: where it runs, what it can do, its card."""
    entry = complete(_get(_catalogue(context, registry, token_file), name))
    if as_json:
        from parley_cli.lines import put_json

        put_json(entry_json(entry))
        return
    from parley_cli.render import clean

    if entry.stale:
        typer.echo(_STALE, err=True)
    card = entry.card
    typer.echo(f"{entry.name} {entry.version}  {entry.health}{'  latest' if entry.latest else ''}")
    typer.echo(f"  {clean(card.description, 1000)}")
    for interface in card.supported_interfaces:
        typer.echo(
            f"  {interface.protocol_binding:<10} {clean(interface.url)}  (A2A {interface.protocol_version})"
        )
    for skill in card.skills:
        typer.echo(f"  skill {clean(skill.id)}: {clean(skill.description, 1000)}")
        if skill.input_modes or skill.output_modes:
            typer.echo(f"    {clean(', '.join(skill.input_modes))} → {clean(', '.join(skill.output_modes))}")
    typer.echo(f"  signature {_worth(entry)}")
    if entry.owner:
        typer.echo(f"  owner {clean(entry.owner)}")
    for instance in entry.instances:
        typer.echo(f"  instance {clean(instance.id)} at {clean(instance.url)}")


@app.command()
def versions(
    context: typer.Context,
    name: Name,
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """All versions of an agent, highest first."""
    entries = complete(_versions(_catalogue(context, registry, token_file), name))
    if as_json:
        from parley_cli.lines import put_json

        for entry in entries:
            put_json(entry_json(entry))
        return
    _table(entries, ["latest" if entry.latest else "" for entry in entries])


@app.command()
def register(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="URL of the agent's card, or of its server.")],
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Register an agent that does not publish itself. The registry fetches its card, now and from time to time.

    Hosts under `parley host --registry` need none of this. `parley agents delete` takes it out again.
    """
    from parley_cli.remote import is_url

    if not is_url(url):
        raise Misuse(f"{url!r} is not the URL of an agent; write it like https://agents.example.com/weather")
    _tell("registered", complete(_register(_catalogue(context, registry, token_file), url)), as_json)


@app.command("set-latest")
def set_latest(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="NAME@VERSION.")],
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Make a version the latest, for a roll back too. It stays so until a higher release is published."""
    plain, _, version = name.partition("@")
    if not version:
        raise Misuse(f"say which version, as {plain}@VERSION; `parley agents versions {plain}` lists them")
    _tell("latest", complete(_set_latest(_catalogue(context, registry, token_file), plain, version)), as_json)


@app.command()
def transfer(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The agent's name.")],
    owner: Annotated[
        str, typer.Argument(help='The new owner, as `agents show` names owners; "" for nobody.')
    ],
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Hand an agent over to another owner. Its owner may, and who has the admin right to its name."""
    catalogue = _catalogue(context, registry, token_file)
    _tell("handed over", complete(_transfer(catalogue, name, owner)), as_json)


@app.command()
def history(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The agent's name. Default: all agents, for admins.")] = "",
    actor: Annotated[str, typer.Option(envvar="PARLEY_ACTOR", help="Only what this owner did.")] = "",
    action: Annotated[
        str, typer.Option(envvar="PARLEY_ACTION", help="publish, latest, delete, owner, rollout, refused …")
    ] = "",
    before: Annotated[int, typer.Option(envvar="PARLEY_BEFORE", min=0, help="Go on from this line.")] = 0,
    limit: Annotated[int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=1000, help="Lines at most.")] = 50,
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Who changed what of an agent, newest first."""
    catalogue = _catalogue(context, registry, token_file)
    wanted = {"name": name, "actor": actor, "action": action, "before": before, "limit": limit}
    lines = complete(_trail(catalogue, wanted))
    if as_json:
        from dataclasses import asdict

        from parley_cli.lines import put_json

        for line in lines:
            put_json(asdict(line))
        return
    _trail_table(lines)
    if len(lines) == limit:
        typer.echo(f"there may be more: --before {lines[-1].seq}", err=True)


@app.command()
def delete(
    context: typer.Context,
    name: Name,
    every: Annotated[
        bool,
        typer.Option("--all-versions", envvar="PARLEY_ALL_VERSIONS", help="Delete all versions there are."),
    ] = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Delete a version of an agent from the registry. A host that still runs publishes itself again."""
    gone = complete(_delete(_catalogue(context, registry, token_file), name, every))
    typer.echo(f"deleted: {', '.join(gone)}")


async def _register(at: "Catalogue", url: str) -> "Entry":
    async with at as catalogue:
        return await catalogue.register_url(url)


async def _set_latest(at: "Catalogue", name: str, version: str) -> "Entry":
    async with at as catalogue:
        return await catalogue.set_latest(name, version)


async def _transfer(at: "Catalogue", name: str, owner: str) -> "Entry":
    async with at as catalogue:
        return await catalogue.transfer(name, owner)


async def _trail(at: "Catalogue", wanted: dict[str, Any]) -> "list[Audited]":
    async with at as catalogue:
        return await catalogue.trail(**wanted)


async def _delete(at: "Catalogue", name: str, every: bool) -> list[str]:
    plain, _, version = name.partition("@")
    async with at as catalogue:
        if not version:
            there = [entry.version for entry in await catalogue.versions(plain)]
            if len(there) > 1 and not every:
                raise Misuse(
                    f"{plain} has {len(there)} versions ({', '.join(there)}): name one as {plain}@VERSION, "
                    "or give --all-versions"
                )
            await catalogue.delete(plain)
            return [f"{plain} {one}" for one in there]
        await catalogue.delete(plain, version)
        return [f"{plain} {version}"]


def _tell(what: str, entry: "Entry", as_json: bool) -> None:
    if as_json:
        from parley_cli.lines import put_json

        put_json(entry_json(entry))
        return
    typer.echo(f"{what}: {entry.name} {entry.version}  {entry.health}")


async def _get(at: "Catalogue", name: str) -> "Entry":
    plain, _, version = name.partition("@")
    async with at as catalogue:
        return await catalogue.get(plain, version or None)


async def _versions(at: "Catalogue", name: str) -> "list[Entry]":
    async with at as catalogue:
        return await catalogue.versions(name)


def entry_json(entry: "Entry") -> dict[str, Any]:
    """An entry as one JSON object; the card as in the protocol."""
    from dataclasses import asdict

    from google.protobuf.json_format import MessageToDict

    return {
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


def _trail_table(lines: "list[Audited]") -> None:
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from parley_cli.render import clean, console

    table = Table(box=None, pad_edge=False)
    for column in ("when", "who", "from", "what", "agent", "version", "", ""):
        table.add_column(column)
    for line in lines:
        when = datetime.fromtimestamp(line.at).strftime("%Y-%m-%d %H:%M:%S")
        change = f"{line.before[:40]} → {line.after[:40]}" if line.before or line.after else ""
        cells = (when, line.actor or "local", line.remote, line.action)
        about = (f"{line.namespace}/{line.name}", line.version, change, line.detail)
        table.add_row(*(Text(clean(cell, 120)) for cell in (*cells, *about)))
    console().print(table)


def _table(entries: "list[Entry]", notes: list[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from parley_cli.render import clean, console

    table = Table(box=None, pad_edge=False)
    for column in ("agent", "version", "health", "skills", ""):
        table.add_column(column)
    for entry, note in zip(entries, notes, strict=True):
        skills = ", ".join(skill.id for skill in entry.card.skills)
        cells = (entry.name, entry.version, entry.health, skills, note)
        table.add_row(*(Text(clean(cell, 120)) for cell in cells))
    console().print(table)
