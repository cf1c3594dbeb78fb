"""`parley mcp`: MCP servers in the registry."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from parley_cli.options import Json, Misuse, Registry, TokenFile, complete, registry_of

if TYPE_CHECKING:
    from parley_registry.mcp.http import HttpMcpServers
    from parley_registry.mcp.server import McpKey, McpServer

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Find MCP servers in the registry.")

Name = Annotated[str, typer.Argument(help="The server's name, or NAME@VERSION.")]
Namespace = Annotated[str, typer.Option(envvar="PARLEY_NAMESPACE", help="Namespace of the server.")]


@app.command("list")
def list_(
    context: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(help="Words in name, description or tools.")] = None,
    namespace: Annotated[
        str, typer.Option(envvar="PARLEY_NAMESPACE", help="Namespace to look in. Default: all")
    ] = "",
    limit: Annotated[
        int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=100, help="How many at most.")
    ] = 100,
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """The MCP servers there are, in their latest versions."""
    page = complete(
        _on(context, registry, token_file, lambda all_: all_.list(namespace, " ".join(text or ()), limit))
    )
    if as_json:
        for one in page.servers:
            _put(one)
        return
    _table(page.servers)
    if page.next:
        typer.echo(f"the first {len(page.servers)}; narrow the search or raise --limit", err=True)
    if not page.servers:
        typer.echo("no MCP server fits", err=True)


@app.command()
def show(
    context: typer.Context,
    name: Name,
    namespace: Namespace = "public",
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """An MCP server: where it is, how it is spoken to, its tools."""
    key, version = _key(namespace, name)
    found = complete(_on(context, registry, token_file, lambda all_: all_.get(key, version or None)))
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
def register(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="A .json file with name, version, protocol, endpoints, tools.")
    ],
    namespace: Annotated[
        str, typer.Option(envvar="PARLEY_NAMESPACE", help="Namespace. Default: that of the file, or public")
    ] = "",
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Register a version of an MCP server. A version never changes; the same again is no error."""
    from parley_cli.promptfile import json_in

    told = json_in(file) | ({"namespace": namespace} if namespace else {})
    done = complete(_register(context, registry, token_file, told))
    if as_json:
        _put(done.server)
        return
    what = "registered" if done.created else "there already"
    typer.echo(f"{what}: {done.server.name} {done.server.version}")


@app.command()
def delete(
    context: typer.Context,
    name: Name,
    every: Annotated[
        bool,
        typer.Option("--all-versions", envvar="PARLEY_ALL_VERSIONS", help="Delete all versions there are."),
    ] = False,
    namespace: Namespace = "public",
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Delete a version of an MCP server from the registry, or all of them."""
    key, version = _key(namespace, name)
    if not version and not every:
        raise Misuse(f"name one version as {key.name}@VERSION, or give --all-versions")
    complete(_on(context, registry, token_file, lambda all_: all_.delete(key, version or None)))
    typer.echo(f"deleted: {key.name} {version or 'with all its versions'}")


async def _on(
    context: typer.Context,
    registry: str,
    token_file: Path | None,
    work: "Callable[[HttpMcpServers], Awaitable[T]]",
) -> T:
    from parley_cli.access import Access

    async with Access.given(token_file).catalogue(registry_of(context.obj, registry)) as catalogue:
        return await work(catalogue.mcp)


async def _register(
    context: typer.Context, registry: str, token_file: Path | None, told: dict[str, Any]
) -> Any:
    import time

    from parley_registry.mcp.check import check_server

    server = check_server(told, now=time.time())
    return await _on(context, registry, token_file, lambda all_: all_.register(server))


def _key(namespace: str, name: str) -> "tuple[McpKey, str]":
    from parley_registry.mcp.server import McpKey

    plain, _, version = name.partition("@")
    return McpKey(namespace, plain), version


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
