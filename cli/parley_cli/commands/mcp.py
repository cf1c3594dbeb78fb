"""`parley mcp`: MCP servers in the registry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parley_cli.gathered import gathered
from parley_cli.meant import Meant
from parley_cli.options import AllNamespaces, AllVersions, Json, chosen_namespace, one_or_all

if TYPE_CHECKING:
    from parley_registry.client import Registry
    from parley_registry.mcp.server import McpKey, McpRegistered, McpServer

app = typer.Typer(no_args_is_help=True, help="Find MCP servers in the registry.")

Name = Annotated[str, typer.Argument(help="The server's name, or NAME@VERSION.")]


@app.command("list")
@gathered(meant=Meant)
def list_(
    text: Annotated[list[str] | None, typer.Argument(help="Words in name, description or tools.")] = None,
    everywhere: AllNamespaces = False,
    limit: Annotated[
        int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=100, help="How many at most.")
    ] = 100,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """The MCP servers there are, in their latest versions."""
    page = meant.ask(
        lambda registry: registry.mcp.list(
            chosen_namespace(registry.namespace, meant.namespace, everywhere), " ".join(text or ()), limit
        )
    )
    if as_json:
        for one in page.servers:
            _put(one)
        return
    if page.servers:
        _table(page.servers)
    if page.next:
        typer.echo(f"the first {len(page.servers)}; narrow the search or raise --limit", err=True)
    if not page.servers:
        typer.echo(
            "no MCP server fits"
            if text
            else "there are no MCP servers yet; `parley mcp register FILE` keeps one",
            err=True,
        )


@app.command()
@gathered(meant=Meant)
def show(name: Name, as_json: Json = False, *, meant: Meant) -> None:
    """An MCP server: where it is, how it is spoken to, its tools."""
    plain, _, version = name.partition("@")
    found = meant.ask(lambda registry: registry.mcp.get(_key(registry, plain), version or None))
    if as_json:
        _put(found)
        return
    from parley_cli.render import clean

    where = f"  from {found.source}" if found.source else ""
    latest = "  latest" if found.latest else ""
    typer.echo(f"{clean(found.name)} {clean(found.version)}  {found.protocol}  {found.health}{latest}{where}")
    typer.echo("  " + clean(found.description, 1000))
    for endpoint in found.endpoints:
        typer.echo("  " + clean(endpoint, 2048))
    if found.launch:
        typer.echo("  started by its publisher's words with " + clean(str(dict(found.launch)), 1000))
    for tool in found.tools:
        takes = ", ".join(map(str, _properties(tool.input_schema)))
        typer.echo("  " + clean(f"tool {tool.name}({takes}): {tool.description}", 1000))


@app.command()
@gathered(meant=Meant)
def register(
    file: Annotated[
        Path, typer.Argument(help="A .json file with name, version, protocol, endpoints, tools.")
    ],
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Register a version of an MCP server. A version never changes; the same again is no error."""
    from parley_cli.promptfile import json_in

    told = json_in(file)
    done = meant.ask(lambda registry: _register(registry, meant.namespace, told))
    if as_json:
        _put(done.server)
        return
    what = "registered" if done.created else "there already"
    typer.echo(f"{what}: {done.server.name} {done.server.version}")


@app.command()
@gathered(meant=Meant)
def delete(name: Name, every: AllVersions = False, *, meant: Meant) -> None:
    """Delete a version of an MCP server from the registry, or all of them."""
    plain, version = one_or_all(name, every)
    meant.ask(lambda registry: registry.mcp.delete(_key(registry, plain), version or None))
    typer.echo(f"deleted: {plain} {version or 'with all its versions'}")


async def _register(registry: "Registry", namespace: str, told: dict[str, Any]) -> "McpRegistered":
    import time

    from parley_registry.mcp.check import check_server

    where = namespace or told.get("namespace") or registry.namespace
    return await registry.mcp.register(check_server(told | {"namespace": where}, now=time.time()))


def _key(registry: "Registry", name: str) -> "McpKey":
    from parley_registry.mcp.server import McpKey

    return McpKey(registry.namespace, name)


def _properties(schema: Any) -> list[str]:
    found = schema.get("properties")
    return list(found) if isinstance(found, dict) else []


def _put(server: "McpServer") -> None:
    from parley_cli.lines import put_json
    from parley_registry.mcp.wire import server_json

    put_json(server_json(server))


def _table(servers: "tuple[McpServer, ...]") -> None:
    from rich.table import Table
    from rich.text import Text

    from parley_cli.render import clean, console

    table = Table(box=None, pad_edge=False)
    for column in ("mcp server", "version", "protocol", "health", "tools", "about"):
        table.add_column(column)
    for one in servers:
        where = "" if one.namespace == "public" else f"{one.namespace}/"
        tools = ", ".join(tool.name for tool in one.tools)
        cells = (f"{where}{one.name}", one.version, one.protocol, one.health, tools, one.description)
        table.add_row(*(Text(clean(cell, 120)) for cell in cells))
    console().print(table)
