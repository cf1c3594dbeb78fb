"""`parley mcp`: MCP servers in the registry."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

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

if TYPE_CHECKING:
    from parley_registry.mcp.server import McpKey, McpServer, McpServers

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Find MCP servers in the registry.")

Name = Annotated[str, typer.Argument(help="The server's name, or NAME@VERSION.")]


@app.command("list")
def list_(
    context: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(help="Words in name, description or tools.")] = None,
    namespace: Namespace = "",
    everywhere: AllNamespaces = False,
    limit: Annotated[
        int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=100, help="How many at most.")
    ] = 100,
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """The MCP servers there are, in their latest versions."""
    page = complete(
        _on(
            context,
            registry,
            namespace,
            token_file,
            lambda all_, here: all_.list(
                chosen_namespace(here, namespace, everywhere), " ".join(text or ()), limit
            ),
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
def show(
    context: typer.Context,
    name: Name,
    namespace: Namespace = "",
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """An MCP server: where it is, how it is spoken to, its tools."""
    plain, _, version = name.partition("@")
    found = complete(
        _on(
            context,
            registry,
            namespace,
            token_file,
            lambda all_, here: all_.get(_key(here, plain), version or None),
        )
    )
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
    namespace: Namespace = "",
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Register a version of an MCP server. A version never changes; the same again is no error."""
    from parley_cli.promptfile import json_in

    done = complete(_register(context, registry, namespace, token_file, json_in(file)))
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
    namespace: Namespace = "",
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Delete a version of an MCP server from the registry, or all of them."""
    plain, _, version = name.partition("@")
    if not version and not every:
        raise Misuse(f"name one version as {plain}@VERSION, or give --all-versions")
    complete(
        _on(
            context,
            registry,
            namespace,
            token_file,
            lambda all_, here: all_.delete(_key(here, plain), version or None),
        )
    )
    typer.echo(f"deleted: {plain} {version or 'with all its versions'}")


async def _on(
    context: typer.Context,
    registry: str,
    namespace: str,
    token_file: Path | None,
    work: "Callable[[McpServers, str], Awaitable[T]]",
) -> T:
    """What `work` makes of the registry's MCP servers and the namespace that is meant."""
    from parley_cli.access import Access

    async with Access.given(token_file).registry(registry_of(context.obj, registry, namespace)) as found:
        return await work(found.mcp, found.namespace)


async def _register(
    context: typer.Context, registry: str, namespace: str, token_file: Path | None, told: dict[str, Any]
) -> Any:
    import time

    from parley_registry.mcp.check import check_server

    async def register(all_: "McpServers", here: str) -> Any:
        where = namespace or told.get("namespace") or here
        return await all_.register(check_server(told | {"namespace": where}, now=time.time()))

    return await _on(context, registry, namespace, token_file, register)


def _key(namespace: str, name: str) -> "McpKey":
    from parley_registry.mcp.server import McpKey

    return McpKey(namespace, name)


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
