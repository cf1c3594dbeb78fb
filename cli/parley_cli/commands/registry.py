"""`parley registry`: serve the catalogue of agents."""

from typing import Annotated

import typer


def registry(
    listen: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_LISTEN",
            metavar="HOST:PORT",
            help="Address to serve on. Default: 127.0.0.1:8420",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_STORE",
            metavar="URL",
            help="Where the catalogue is kept, in SQLite or PostgreSQL. Default: sqlite:///.parley/data/registry.db",
        ),
    ] = None,
    nacos: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_NACOS",
            metavar="nacos://USER:PASSWORD@HOST:8848/NAMESPACE,…",
            help="Serve the agents of a Nacos; the store then has the copy of it.",
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_PUBLIC_URL",
            metavar="URL",
            help="Where others reach this registry; with --nacos it is found through Nacos then.",
        ),
    ] = None,
    stale_after: Annotated[
        float | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_STALE_AFTER",
            metavar="SECONDS",
            help="What is served of Nacos is stale so long after it was last known to hold. Default: 15",
        ),
    ] = None,
    ttl: Annotated[
        float | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_TTL",
            help="Seconds without a heartbeat until an instance is gone. Default: 6",
        ),
    ] = None,
    allow: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_ALLOW",
            metavar="CIDR,…",
            help="Private networks that cards may be fetched from.",
        ),
    ] = None,
    trusted_keys: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_TRUSTED_KEYS",
            metavar="[SIGNER=]URL|FILE,…",
            help="Public keys whose signatures of cards count. Default: nobody's",
        ),
    ] = None,
    require_signature: Annotated[
        bool,
        typer.Option(
            "--require-signature",
            envvar="PARLEY_REGISTRY_REQUIRE_SIGNATURE",
            help="Take only cards signed by one of them.",
        ),
    ] = False,
    grants: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_GRANTS",
            metavar="SUBJECT=RIGHT …,…",
            help="Rights of tokens that name none. Default: *=*/* (whoever has a token may take free names)",
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_EMBEDDINGS",
            metavar="local:DIR|URL",
            help="Search by meaning, too: a static embedding model, or an OpenAI-compatible API (http://host/v1).",
        ),
    ] = None,
    embeddings_model: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_EMBEDDINGS_MODEL", metavar="NAME", help="The model to ask that API for."
        ),
    ] = None,
    embeddings_cache: Annotated[
        str | None,
        typer.Option(
            envvar="PARLEY_REGISTRY_EMBEDDINGS_CACHE",
            metavar="FILE",
            help="Keeps vectors over restarts. Default: .parley/data/embeddings.db",
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option(envvar="PARLEY_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
    log_format: Annotated[
        str,
        typer.Option(envvar="PARLEY_LOG_FORMAT", help="text, json or auto (text on a terminal, else JSON)."),
    ] = "auto",
) -> None:
    """Serve a registry: agents publish themselves and are found by skill.

    What else it can be told is set as PARLEY_REGISTRY_… and PARLEY_AUTH_… in the environment.
    """
    from parley_registry.__main__ import main

    given = {
        "--listen": listen,
        "--store": store,
        "--nacos": nacos,
        "--public-url": public_url,
        "--stale-after": stale_after,
        "--ttl": ttl,
        "--allow": allow,
        "--log-level": log_level,
        "--log-format": log_format,
        "--trusted-keys": trusted_keys,
        "--grants": grants,
        "--embeddings": embeddings,
        "--embeddings-model": embeddings_model,
        "--embeddings-cache": embeddings_cache,
    }
    words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    words += ["--require-signature"] if require_signature else []
    raise typer.Exit(main(words))
