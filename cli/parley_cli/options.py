"""Options that several subcommands share."""

import sys
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer

from parley_cli.home import Home
from parley_core.errors import ParleyError

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


class Misuse(ParleyError):
    """The command was called in a way that cannot work; exit code 2."""

    misuse = True


def registry_of(home: Home, given: str) -> str:
    """The registry's URL: as given, else the running platform's. Raises NotRunning."""
    if given:
        return given
    from parley_cli.local import NotRunning
    from parley_cli.platform import running

    platform = running(home)
    if platform is None or not platform.ready:
        raise NotRunning(
            f"no platform runs in {home.root}: start one with `parley up`, or give --registry URL"
        )
    return platform.registry


def text_of(words: str) -> str:
    """A text given as an argument, or read from standard input for "-". Raises Misuse when it is empty."""
    text = sys.stdin.read() if words == "-" else words
    if not text.strip():
        raise Misuse("the text is empty: say what is to be done, or pipe it in and give `-`")
    return text.strip()


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
        sys.exit(143)
