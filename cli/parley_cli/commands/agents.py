"""`parley agents`: what is in the registry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parley_cli.agentview import (
    entry_json,
    put_entries,
    put_page,
    show_entries,
    show_entry,
    show_page,
    show_trail,
)
from parley_cli.options import (
    AllNamespaces,
    Json,
    Misuse,
    Namespace,
    Registry,
    TokenFile,
    chosen_namespace,
    complete,
    registry_of,
)
from parley_core.errors import ParleyError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from parley_registry import client
    from parley_registry.client import Audited, Entry, RegistryClient

    There = AbstractAsyncContextManager[client.Registry]
    Catalogue = AbstractAsyncContextManager[RegistryClient]


class NotDeleted(ParleyError):
    """What was to be deleted is in use."""


app = typer.Typer(no_args_is_help=True, help="Find agents in the registry.")

Limit = Annotated[int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=100, help="How many at most.")]
Name = Annotated[str, typer.Argument(help="The agent's name, or NAME@VERSION.")]


def _there(context: typer.Context, registry: str, namespace: str, token_file: Path | None) -> "There":
    """What the registry itself is asked, and Nacos where that is the registry and has no catalogue."""
    from parley_cli.access import Access

    return Access.given(token_file).registry(registry_of(context.obj, registry, namespace))


def _catalogue(context: typer.Context, registry: str, namespace: str, token_file: Path | None) -> "Catalogue":
    """What only a registry service knows."""
    from parley_cli.access import Access

    return Access.given(token_file).catalogue(registry_of(context.obj, registry, namespace))


@app.command("list")
def list_(
    context: typer.Context,
    limit: Limit = 100,
    as_json: Json = False,
    registry: Registry = "",
    namespace: Namespace = "",
    everywhere: AllNamespaces = False,
    token_file: TokenFile = None,
) -> None:
    """All agents, in their latest version."""
    wanted = {"limit": limit, "latest": True, **_where(namespace, everywhere)}
    complete(_search(_there(context, registry, namespace, token_file), wanted, as_json))


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
    namespace: Namespace = "",
    everywhere: AllNamespaces = False,
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
        **_where(namespace, everywhere),
    }
    complete(_search(_there(context, registry, namespace, token_file), wanted, as_json))


def _where(namespace: str, everywhere: bool) -> dict[str, Any]:
    """The criterion that a choice of namespaces is."""
    return {} if chosen_namespace("here", namespace, everywhere) else {"namespace": None}


async def _search(at: "There", wanted: dict[str, Any], as_json: bool) -> None:
    async with at as registry:
        page = await registry.search(**wanted)
        if not page.entries:
            everything = {name: value for name, value in wanted.items() if name == "namespace"}
            some = bool((await registry.search(**everything, limit=1)).entries)
            typer.echo("no agent fits" if some else _empty(registry.namespace, wanted), err=True)
    put_page(page) if as_json else show_page(page)


def _empty(namespace: str, wanted: dict[str, Any]) -> str:
    where = "the registry" if "namespace" in wanted else f"the namespace {namespace} of the registry"
    return (
        f"{where} has no agents: `parley host … --registry URL` publishes one, `parley agents register URL` registers "
        "one that runs elsewhere"
    )


@app.command()
def show(
    context: typer.Context,
    name: Name,
    as_json: Json = False,
    registry: Registry = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """An agent: where it runs, what it can do, its card."""
    entry = complete(_get(_there(context, registry, namespace, token_file), name))
    put_entries([entry]) if as_json else show_entry(entry)


@app.command()
def versions(
    context: typer.Context,
    name: Name,
    as_json: Json = False,
    registry: Registry = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """All versions of an agent, highest first."""
    entries = complete(_versions(_there(context, registry, namespace, token_file), name))
    put_entries(entries) if as_json else show_entries(entries, [""] * len(entries))


@app.command()
def register(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="URL of the agent's card, or of its server.")],
    as_json: Json = False,
    registry: Registry = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """Register an agent that does not publish itself. The registry fetches its card, now and from time to time.

    Hosts under `parley host --registry` need none of this. `parley agents delete` takes it out again.
    """
    from parley_cli.remote import is_url

    if not is_url(url):
        raise Misuse(f"{url!r} is not the URL of an agent; write it like https://agents.example.com/weather")
    _tell(
        "registered", complete(_register(_catalogue(context, registry, namespace, token_file), url)), as_json
    )


@app.command("set-latest")
def set_latest(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="NAME@VERSION.")],
    as_json: Json = False,
    registry: Registry = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """Make a version the latest, for a roll back too. It stays so until a higher release is published."""
    plain, _, version = name.partition("@")
    if not version:
        raise Misuse(f"say which version, as {plain}@VERSION; `parley agents versions {plain}` lists them")
    _tell(
        "latest",
        complete(_set_latest(_there(context, registry, namespace, token_file), plain, version)),
        as_json,
    )


@app.command()
def transfer(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The agent's name.")],
    owner: Annotated[
        str, typer.Argument(help='The new owner, as `agents show` names owners; "" for nobody.')
    ],
    as_json: Json = False,
    registry: Registry = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """Hand an agent over to another owner. Its owner may, and who has the admin right to its name."""
    catalogue = _catalogue(context, registry, namespace, token_file)
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
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """Who changed what of an agent, newest first."""
    catalogue = _catalogue(context, registry, namespace, token_file)
    wanted = {"name": name, "actor": actor, "action": action, "before": before, "limit": limit}
    lines = complete(_trail(catalogue, wanted))
    if as_json:
        from dataclasses import asdict

        from parley_cli.lines import put_json

        for line in lines:
            put_json(asdict(line))
        return
    show_trail(lines)
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
    force: Annotated[
        bool, typer.Option("--force", envvar="PARLEY_FORCE", help="An agent that runs, too.")
    ] = False,
    registry: Registry = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """Delete a version of an agent from the registry, or the agent. A host that still runs publishes itself again."""
    gone = complete(_delete(_there(context, registry, namespace, token_file), name, every, force))
    typer.echo(f"deleted: {', '.join(gone)}")


async def _register(at: "Catalogue", url: str) -> "Entry":
    async with at as catalogue:
        return await catalogue.register_url(url)


async def _set_latest(at: "There", name: str, version: str) -> "Entry":
    async with at as catalogue:
        return await catalogue.set_latest(name, version)


async def _transfer(at: "Catalogue", name: str, owner: str) -> "Entry":
    async with at as catalogue:
        return await catalogue.transfer(name, owner)


async def _trail(at: "Catalogue", wanted: dict[str, Any]) -> "list[Audited]":
    async with at as catalogue:
        return await catalogue.trail(**wanted)


async def _delete(at: "There", name: str, every: bool, force: bool) -> list[str]:
    plain, _, version = name.partition("@")
    async with at as registry:
        if version:
            await registry.delete(plain, version)
            return [f"{plain} {version}"]
        there = await registry.versions(plain)
        numbers = [entry.version for entry in there]
        if len(there) > 1 and not every:
            raise Misuse(
                f"{plain} has {len(there)} versions ({', '.join(numbers)}): name one as {plain}@VERSION, "
                "or give --all-versions"
            )
        running = [f"{entry.version} at {one.url}" for entry in there for one in entry.instances]
        if running and not force:
            raise NotDeleted(
                f"{plain} runs ({', '.join(running[:5])}{' …' if len(running) > 5 else ''}) and would publish itself again "
                "within seconds: stop it first, or give --force"
            )
        await registry.delete(plain)
        return [f"{plain} {one}" for one in numbers]


def _tell(what: str, entry: "Entry", as_json: bool) -> None:
    if as_json:
        from parley_cli.lines import put_json

        put_json(entry_json(entry))
        return
    typer.echo(f"{what}: {entry.name} {entry.version}  {entry.health}")


async def _get(at: "There", name: str) -> "Entry":
    plain, _, version = name.partition("@")
    async with at as catalogue:
        return await catalogue.get(plain, version or None)


async def _versions(at: "There", name: str) -> "list[Entry]":
    async with at as catalogue:
        return await catalogue.versions(name)
