"""`parley agents`: what is in the registry."""

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
from parley_cli.gathered import gathered
from parley_cli.meant import Meant
from parley_cli.options import AllNamespaces, AllVersions, Json, Misuse, chosen_namespace
from parley_core.errors import ParleyError

if TYPE_CHECKING:
    from parley_registry.client import Entry, Page, Registry


class NotDeleted(ParleyError):
    """What was to be deleted is in use."""


app = typer.Typer(no_args_is_help=True, help="Find agents in the registry.")

Limit = Annotated[int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=100, help="How many at most.")]
Name = Annotated[str, typer.Argument(help="The agent's name, or NAME@VERSION.")]


@app.command("list")
@gathered(meant=Meant)
def list_(
    limit: Limit = 100,
    as_json: Json = False,
    everywhere: AllNamespaces = False,
    *,
    meant: Meant,
) -> None:
    """All agents, in their latest version."""
    wanted = {"limit": limit, "latest": True, **_where(meant, everywhere)}
    _search(meant, wanted, as_json)


def _filter(variable: str, help: str) -> typer.models.OptionInfo:  # noqa: A002
    option: typer.models.OptionInfo = typer.Option(envvar=f"PARLEY_{variable}", metavar="VALUE", help=help)
    return option


Values = list[str] | None


@app.command()
@gathered(meant=Meant)
def search(
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
    everywhere: AllNamespaces = False,
    *,
    meant: Meant,
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
        **_where(meant, everywhere),
    }
    _search(meant, wanted, as_json)


def _where(meant: Meant, everywhere: bool) -> dict[str, Any]:
    """The criterion that a choice of namespaces is."""
    return {} if chosen_namespace("here", meant.namespace, everywhere) else {"namespace": None}


def _search(meant: Meant, wanted: dict[str, Any], as_json: bool) -> None:
    async def found(registry: "Registry") -> "Page":
        page = await registry.search(**wanted)
        if not page.entries:
            everything = {name: value for name, value in wanted.items() if name == "namespace"}
            some = bool((await registry.search(**everything, limit=1)).entries)
            typer.echo("no agent fits" if some else _empty(registry.namespace, wanted), err=True)
        return page

    page = meant.ask(found)
    put_page(page) if as_json else show_page(page)


def _empty(namespace: str, wanted: dict[str, Any]) -> str:
    where = "the registry" if "namespace" in wanted else f"the namespace {namespace} of the registry"
    return (
        f"{where} has no agents: `parley host … --registry URL` publishes one, `parley agents register URL` registers "
        "one that runs elsewhere"
    )


@app.command()
@gathered(meant=Meant)
def show(
    name: Name,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """An agent: where it runs, what it can do, its card."""
    plain, _, version = name.partition("@")
    entry = meant.ask(lambda registry: registry.get(plain, version or None))
    put_entries([entry]) if as_json else show_entry(entry)


@app.command()
@gathered(meant=Meant)
def versions(
    name: Name,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """All versions of an agent, highest first."""
    entries = meant.ask(lambda registry: registry.versions(name))
    put_entries(entries) if as_json else show_entries(entries, [""] * len(entries))


@app.command()
@gathered(meant=Meant)
def register(
    url: Annotated[str, typer.Argument(help="URL of the agent's card, or of its server.")],
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Register an agent that does not publish itself. The registry fetches its card, now and from time to time.

    Hosts under `parley host --registry` need none of this. `parley agents delete` takes it out again.
    """
    from parley_cli.remote import is_url

    if not is_url(url):
        raise Misuse(f"{url!r} is not the URL of an agent; write it like https://agents.example.com/weather")
    _tell("registered", meant.ask_catalogue(lambda catalogue: catalogue.register_url(url)), as_json)


@app.command("set-latest")
@gathered(meant=Meant)
def set_latest(
    name: Annotated[str, typer.Argument(help="NAME@VERSION.")],
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Make a version the latest, for a roll back too. It stays so until a higher release is published."""
    plain, _, version = name.partition("@")
    if not version:
        raise Misuse(f"say which version, as {plain}@VERSION; `parley agents versions {plain}` lists them")
    _tell("latest", meant.ask(lambda registry: registry.set_latest(plain, version)), as_json)


@app.command()
@gathered(meant=Meant)
def transfer(
    name: Annotated[str, typer.Argument(help="The agent's name.")],
    owner: Annotated[
        str, typer.Argument(help='The new owner, as `agents show` names owners; "" for nobody.')
    ],
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Hand an agent over to another owner. Its owner may, and who has the admin right to its name."""
    _tell("handed over", meant.ask_catalogue(lambda catalogue: catalogue.transfer(name, owner)), as_json)


@app.command()
@gathered(meant=Meant)
def history(
    name: Annotated[str, typer.Argument(help="The agent's name. Default: all agents, for admins.")] = "",
    actor: Annotated[str, typer.Option(envvar="PARLEY_ACTOR", help="Only what this owner did.")] = "",
    action: Annotated[
        str, typer.Option(envvar="PARLEY_ACTION", help="publish, latest, delete, owner, rollout, refused …")
    ] = "",
    before: Annotated[int, typer.Option(envvar="PARLEY_BEFORE", min=0, help="Go on from this line.")] = 0,
    limit: Annotated[int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=1000, help="Lines at most.")] = 50,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Who changed what of an agent, newest first."""
    lines = meant.ask_catalogue(
        lambda catalogue: catalogue.trail(name=name, actor=actor, action=action, before=before, limit=limit)
    )
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
@gathered(meant=Meant)
def delete(
    name: Name,
    every: AllVersions = False,
    force: Annotated[
        bool, typer.Option("--force", envvar="PARLEY_FORCE", help="An agent that runs, too.")
    ] = False,
    *,
    meant: Meant,
) -> None:
    """Delete a version of an agent from the registry, or the agent. A host that still runs publishes itself again."""
    gone = meant.ask(lambda registry: _delete(registry, name, every, force))
    typer.echo(f"deleted: {', '.join(gone)}")


async def _delete(registry: "Registry", name: str, every: bool, force: bool) -> list[str]:
    plain, _, version = name.partition("@")
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
