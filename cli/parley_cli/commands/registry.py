"""`parley registry`: serve the catalogue of agents."""

from typing import Annotated

import typer

from parley_cli.options import complete


def registry(
    listen: Annotated[
        str, typer.Option(envvar="PARLEY_LISTEN", metavar="HOST:PORT", help="Address to serve on.")
    ] = "127.0.0.1:9990",
    store: Annotated[
        str, typer.Option(envvar="PARLEY_STORE", metavar="URL", help="Where the catalogue is kept.")
    ] = "sqlite:///parley-registry.db",
) -> None:
    """Serve a registry: agents publish themselves in it and are found by what they can do."""
    complete(_serve(listen, store))


async def _serve(listen: str, store: str) -> None:
    from parley_registry.service import serve

    await serve(listen, store)
