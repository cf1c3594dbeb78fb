"""Options that several subcommands share."""

import errno
import os
import shlex
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from parley_cli import exits
from parley_cli.home import Home
from parley_core.errors import ConfigurationError, ParleyError

T = TypeVar("T")

Json = Annotated[
    bool, typer.Option("--json", envvar="PARLEY_JSON", help="JSON lines on standard output instead of text.")
]
Registry = Annotated[
    str,
    typer.Option(
        envvar="PARLEY_REGISTRY",
        metavar="URL",
        help="Registry to use. Default: the platform's that runs in this home.",
    ),
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        envvar="PARLEY_NAMESPACE",
        help="Namespace that is meant. Default: that of the registry's address, else public",
    ),
]
AllNamespaces = Annotated[
    bool,
    typer.Option("--all-namespaces", "-A", envvar="PARLEY_ALL_NAMESPACES", help="Those of all namespaces."),
]
AllVersions = Annotated[
    bool,
    typer.Option("--all-versions", envvar="PARLEY_ALL_VERSIONS", help="Delete all versions there are."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar="PARLEY_TOKEN_FILE",
        metavar="FILE",
        help="File with the bearer token to call with. Default: the token in PARLEY_TOKEN, if any.",
    ),
]


class Misuse(ParleyError):
    """The command was called in a way that cannot work; exit code 2."""

    misuse = True


def registry_url(given: str, namespace: str = "") -> str:
    """The same when it is the address of a registry, of the namespace if one is given, or ""; else raises Misuse."""
    if given:
        from parley_registry.client import in_namespace

        try:
            return in_namespace(given, namespace)
        except ConfigurationError as error:
            raise Misuse(str(error)) from error
    return given


def registry_of(home: Home, given: str, namespace: str = "") -> str:
    """The registry's URL: as given, else the running platform's; of the namespace, if one is given. Raises NotRunning,
    Misuse for what is no URL."""
    if given:
        return registry_url(given, namespace)
    from parley_cli.local import NotRunning
    from parley_cli.platform import running

    platform = running(home)
    if platform is None or not platform.ready:
        raise NotRunning(
            f"no platform runs in {home.root}: start one with `parley up`, or give --registry URL"
        )
    return registry_url(platform.registry, namespace)


def chosen_namespace(here: str, namespace: str, everywhere: bool) -> str:
    """The namespace `here` that is meant, or "" for all of them. Raises Misuse when one is given and all are asked for."""
    if everywhere and namespace:
        raise Misuse("--namespace and --all-namespaces contradict each other: leave one out")
    return "" if everywhere else here


def one_or_all(name: str, every: bool) -> tuple[str, str]:
    """Name and version of `NAME@VERSION`; version "" for all of them. Raises Misuse when neither one nor all are asked for."""
    plain, _, version = name.partition("@")
    if not version and not every:
        raise Misuse(f"name one version as {plain}@VERSION, or give --all-versions")
    return plain, version


MORE = {"allow_extra_args": True}
"""Context settings of a command that ends in a text, so that `text_of` can say what to do about a text in pieces."""


def text_of(context: typer.Context, words: str) -> str:
    """A text given as an argument, or read from standard input for "-". Raises Misuse when it is empty, or when
    more words follow it because it was not put in quotes."""
    if context.args:
        whole = " ".join([words, *context.args])
        raise Misuse(
            f"put the text in quotes, so that it is one: {context.command_path} … {shlex.quote(whole)}"
        )
    text = sys.stdin.read() if words == "-" else words
    if not text.strip():
        raise Misuse("the text is empty: say what is to be done, or pipe it in and give `-`")
    return text.strip()


def writable(folder: Path, option: str) -> None:
    """Make a folder for results before the work begins that fills it. Raises Misuse when it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise Misuse(
            f"cannot write to {folder} ({error.strerror}); choose another place with {option}"
        ) from error


def complete(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; SIGTERM cancels it as Ctrl-C does."""
    import asyncio
    import signal

    async def with_signals() -> T:
        current = asyncio.current_task()
        assert current
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
        return await work

    try:
        return asyncio.run(with_signals())
    except asyncio.CancelledError:
        sys.exit(exits.TERMINATED)
