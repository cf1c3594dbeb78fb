"""`parley host`: serve any a2a-sdk executor as a durable agent."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parley_cli.options import complete
from parley_core.errors import ConfigurationError

if TYPE_CHECKING:
    from a2a.server.agent_execution import AgentExecutor
    from a2a.types import AgentCard


def _option(name: str, text: str, **more: Any) -> Any:
    return typer.Option(f"--{name.replace('_', '-')}", envvar=f"PARLEY_{name.upper()}", help=text, **more)


def host(
    context: typer.Context,
    executor: Annotated[
        str | None,
        typer.Argument(help="The executor's class, as package.module:Class. (Not with --forward.)"),
    ] = None,
    card: Annotated[
        Path | None,
        _option(
            "card", "The agent's card, a JSON file. Default: with --forward that server's", metavar="FILE"
        ),
    ] = None,
    forward: Annotated[
        str | None,
        _option(
            "forward", "A2A server that does the work, instead of an executor. Default: none", metavar="URL"
        ),
    ] = None,
    forward_wait: Annotated[
        float | None,
        _option("forward_wait", "Seconds to wait for that server at the start. Default: 60", min=0),
    ] = None,
    on_lost: Annotated[
        str | None,
        _option(
            "on_lost",
            "What becomes of a message whose task that server lost: sent again, or failed. Default: retry",
            metavar="retry|fail",
        ),
    ] = None,
    listen: Annotated[
        str | None, _option("listen", "Address to serve on. Default: 127.0.0.1:9999", metavar="HOST:PORT")
    ] = None,
    grpc: Annotated[
        str | None, _option("grpc", "Address of the gRPC binding. Default: none", metavar="HOST:PORT")
    ] = None,
    store: Annotated[
        str | None,
        _option(
            "store",
            "Where tasks are kept, sqlite:// or postgresql://. Default: sqlite:///parley.db",
            metavar="URL",
        ),
    ] = None,
    queue: Annotated[
        str | None,
        _option(
            "queue", "Where workers hear of work, as rocketmq://host:8081. Default: the store", metavar="URL"
        ),
    ] = None,
    bus: Annotated[
        str | None,
        _option(
            "bus",
            "How events reach other replicas, as rocketmq://host:8081. Default: the store",
            metavar="URL",
        ),
    ] = None,
    inbox: Annotated[
        str | None,
        _option(
            "inbox",
            "Where messages come in besides HTTP, as rocketmq://host:8081. Default: nowhere",
            metavar="URL",
        ),
    ] = None,
    inbox_owner: Annotated[
        str | None, _option("inbox_owner", "Whose tasks the inbox's messages become.")
    ] = None,
    blobs: Annotated[
        str | None,
        _option(
            "blobs",
            "Where large parts are kept: a folder, or s3://bucket/prefix. Default: beside a SQLite store",
            metavar="URL",
        ),
    ] = None,
    blob_url: Annotated[
        str | None,
        _option("blob_url", "Where this host's large parts are read. Default: the public URL", metavar="URL"),
    ] = None,
    version: Annotated[str | None, _option("version", "The agent's version. Default: the card's")] = None,
    agent_name: Annotated[str | None, _option("agent_name", "The agent's name. Default: the card's")] = None,
    scope: Annotated[
        str | None,
        _option(
            "scope", "Tells its tables and topics from those of another agent of its name. Default: none"
        ),
    ] = None,
    agent_id: Annotated[
        str | None,
        _option("agent_id", "What all processes of this agent have in common. Default: the executor's class"),
    ] = None,
    role: Annotated[
        str | None, _option("role", "What this process does. Default: front,worker", metavar="front,worker")
    ] = None,
    registry: Annotated[
        str | None, _option("registry", "Registry to publish the agent in. Default: none", metavar="URL")
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            envvar="PARLEY_NAMESPACE",
            help="Namespace of the registry to publish it in. Default: that of its address, else public",
        ),
    ] = None,
    registry_token_file: Annotated[
        Path | None,
        _option("registry_token_file", "File with the bearer token for the registry.", metavar="FILE"),
    ] = None,
    public_url: Annotated[
        str | None,
        _option("public_url", "How others reach this host. Default: the listen address", metavar="URL"),
    ] = None,
    concurrency: Annotated[
        int | None, _option("concurrency", "Executions at once. Default: 64", min=1)
    ] = None,
    lease: Annotated[
        float | None, _option("lease", "Seconds a silent worker keeps its tasks. Default: 3", min=0.5)
    ] = None,
    max_attempts: Annotated[
        int | None, _option("max_attempts", "Executions of a message, crashes included. Default: 5", min=1)
    ] = None,
    drain: Annotated[
        float | None, _option("drain", "Seconds that running work may take after SIGTERM. Default: 10", min=0)
    ] = None,
    drain_delay: Annotated[
        float | None,
        _option(
            "drain_delay", "Seconds for which calls are still taken before that, not ready. Default: 0", min=0
        ),
    ] = None,
    trusted: Annotated[
        str | None,
        _option(
            "trusted", "Callers that may choose priorities. Default: local (on loopback)", metavar="CALLER,…"
        ),
    ] = None,
    classes: Annotated[
        str | None,
        _option(
            "classes", "Priorities (0-7) of callers that do not choose. Default: 3", metavar="CALLER=N,…"
        ),
    ] = None,
    limits_file: Annotated[
        Path | None,
        _option("limits_file", "Limits as JSON, read again when they change. Default: none", metavar="FILE"),
    ] = None,
    retain_events: Annotated[
        float | None,
        _option("retain_events", "Seconds that the events of an ended task are kept. Default: 86400", min=0),
    ] = None,
    retain_tasks: Annotated[
        float | None,
        _option("retain_tasks", "Seconds that an ended task is kept. Default: 2592000", min=0),
    ] = None,
    push_allow: Annotated[
        str | None,
        _option(
            "push_allow",
            "Networks and hosts that webhooks may be in although not public.",
            metavar="CIDR|HOST,…",
        ),
    ] = None,
    auth_issuer: Annotated[
        str | None, _option("auth_issuer", "Issuer of bearer tokens.", metavar="URL")
    ] = None,
    auth_audience: Annotated[str | None, _option("auth_audience", "Audience that tokens must have.")] = None,
    auth_jwks: Annotated[
        str | None,
        _option(
            "auth_jwks", "Key set that verifies tokens. Default: loopback only, no tokens", metavar="URL|FILE"
        ),
    ] = None,
    allowed_hosts: Annotated[
        str | None,
        _option("allowed_hosts", "Host names accepted besides the listen address.", metavar="NAME,…"),
    ] = None,
    extended_card: Annotated[
        Path | None,
        _option(
            "extended_card", "The card for callers who proved who they are, a JSON file.", metavar="FILE"
        ),
    ] = None,
    signing_keys: Annotated[
        Path | None,
        _option(
            "signing_keys", "Keys that sign the cards (`parley keys create`). Default: none", metavar="FILE"
        ),
    ] = None,
    log_level: Annotated[
        str | None, _option("log_level", "debug, info, warning or error. Default: info")
    ] = None,
    log_format: Annotated[
        str | None, _option("log_format", "text, json or auto. Default: auto (text on a terminal, else JSON)")
    ] = None,
) -> None:
    """Host an a2a-sdk AgentExecutor, or with --forward any A2A server, as a durable A2A server.

    The class needs a constructor without arguments and is imported from the current directory or what is
    installed. Several processes may share one --store: any of them answers for a task, and takes it over
    when another dies. Ends on SIGTERM or Ctrl-C after handing over what runs.
    """
    apart = ("executor", "card", "extended_card")
    given = {k: v for k, v in context.params.items() if k not in apart and v is not None}
    complete(_serve(executor, card, extended_card, given))


async def _serve(
    executor: str | None, card: Path | None, extended: Path | None, given: dict[str, Any]
) -> None:
    from parley_core.lean import load_sdk

    load_sdk()
    from pydantic import ValidationError

    from parley_core.telemetry import configure_logging
    from parley_runtime.host import AgentHost
    from parley_runtime.settings import HostSettings, parse_listen

    try:
        settings = HostSettings(**given)
    except ValidationError as error:
        raise ConfigurationError(faults(error)) from error
    parse_listen(settings.listen)
    configure_logging(settings.log_level, form=settings.log_format)
    more = read_card(extended) if extended is not None else None
    if settings.forward:
        if executor:
            raise ConfigurationError("give an executor's class or --forward, not both")
        from parley_runtime.sidecar.beginning import begin

        own, forwarder = await begin(settings)
        shown = read_card(card) if card is not None else own
        return await AgentHost(shown, forwarder, settings, extended_card=more).run()
    if not executor or card is None:
        raise ConfigurationError(
            "say what to host: an executor's class and its --card, or the address of an A2A server with --forward"
        )
    await AgentHost(read_card(card), load_executor(executor), settings, extended_card=more).run()


def faults(error: Any) -> str:
    """What is wrong with settings, by option, on one line."""
    said = []
    for one in error.errors():
        raised = one.get("ctx", {}).get("error")  # in a validator of ours: its own words
        said.append(f"--{str(one['loc'][0]).replace('_', '-')}: {raised or one['msg']}")
    return "; ".join(said)


def read_card(path: Path) -> "AgentCard":
    """The AgentCard in a JSON file. Raises ConfigurationError that says what is wrong with it."""
    import json

    from a2a.types import AgentCard
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        return ParseDict(json.loads(path.read_bytes()), AgentCard())
    except OSError as error:
        raise ConfigurationError(f"cannot read the card {path}: {error.strerror}") from error
    except (ValueError, ParseError) as error:
        raise ConfigurationError(f"{path} is not an A2A 1.0 agent card: {error}") from error


def load_executor(name: str) -> "AgentExecutor":
    """An instance of the class that `package.module:Class` names. Raises ConfigurationError."""
    import importlib

    from a2a.server.agent_execution import AgentExecutor

    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise ConfigurationError(f"{name!r} does not name a class; write it as package.module:Class")
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")  # as `python -m` would
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"cannot import {module}: {error}; is it installed, or in this directory?"
        ) from error
    except AttributeError as error:
        raise ConfigurationError(f"{module} has no {attribute!r}") from error
    if not (isinstance(found, type) and issubclass(found, AgentExecutor)):
        raise ConfigurationError(f"{name} is not a subclass of a2a.server.agent_execution.AgentExecutor")
    try:
        return found()
    except TypeError as error:
        raise ConfigurationError(f"{name} must have a constructor without arguments: {error}") from error
