"""`parley run`: give the team a job and see it through."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parley_cli.options import (
    Json,
    Misuse,
    Namespace,
    Registry,
    TokenFile,
    complete,
    registry_url,
    text_of,
    writable,
)

if TYPE_CHECKING:
    from parley_cli.client import Parley
    from parley_cli.events import Event


def run(
    context: typer.Context,
    task: Annotated[
        str,
        typer.Argument(
            envvar="PARLEY_TASK", help="What is to be done, in words; - reads it from standard input."
        ),
    ],
    repo: Annotated[
        str,
        typer.Option(
            envvar="PARLEY_REPO",
            metavar="PATH",
            help="Git repository to work on: its tracked files as they are now. It is never written to. "
            "Default: the current directory (with --context: what the earlier job delivered).",
        ),
    ] = "",
    out: Annotated[
        Path, typer.Option(envvar="PARLEY_OUT", metavar="DIR", help="Where the job's folder of results goes.")
    ] = Path("parley-out"),
    conversation: Annotated[
        str,
        typer.Option(
            "--context", envvar="PARLEY_CONTEXT", metavar="last|ID", help="Go on from an earlier job."
        ),
    ] = "",
    rounds: Annotated[
        int | None,
        typer.Option(envvar="PARLEY_ROUNDS", min=1, max=20, help="How often one step is tried at most."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(envvar="PARLEY_TIMEOUT", min=1, help="Seconds for the whole job.")
    ] = None,
    approve: Annotated[
        bool,
        typer.Option("--approve", envvar="PARLEY_APPROVE", help="Be asked before the change is delivered."),
    ] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", "-d", envvar="PARLEY_DETACH", help="Print the job's id and return; the job goes on."
        ),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", envvar="PARLEY_KEEP", help="Leave the platform running afterwards.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", envvar="PARLEY_PLAIN", help="Lines of text, on a terminal too.")
    ] = False,
    svg: Annotated[
        Path | None,
        typer.Option(envvar="PARLEY_SVG", metavar="FILE", help="Save the final picture as an SVG file."),
    ] = None,
    as_json: Json = False,
    registry: Registry = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """Give the team a job on a git repository and follow it to its end.

    Exit code 0: the change is verified, or there was nothing to change; 1: it is not verified; 2: the command was
    misused. The result is in a folder of its own under --out: change.patch, change.bundle, report.md, review.sarif, junit.xml, plan.json.

    Uses the platform of this home. If none runs, one is started for this job and ended with it, and Ctrl-C
    cancels the job and ends everything. With a platform that was to stay (`parley up`, --keep, --detach),
    Ctrl-C only stops watching: the job goes on, `parley task watch ID` shows it again, `parley task cancel ID`
    ends it.
    """
    if detach and svg:
        raise Misuse(
            "--svg needs the job to be watched: leave out --detach, or give it to `parley task watch`"
        )
    place = repo or (None if conversation else ".")
    arguments: dict[str, Any] = {
        "repo": place,
        "out": out,
        "context": conversation,
        "rounds": rounds,
        "timeout": timeout,
        "approve": approve,
    }
    words = text_of(context, task)
    writable(out, "--out")
    if svg:
        writable(svg.parent, "--svg")
    client = {"registry": registry_url(registry, namespace), "keep": keep or detach, "token_file": token_file}
    verified = complete(_run(context, words, arguments, client, detach, show_as(as_json, plain), svg))
    raise typer.Exit(0 if verified else 1)


def show_as(as_json: bool, plain: bool) -> str:
    """How to show events: `json`, `tree` on a terminal, else `plain`."""
    if as_json:
        return "json"
    from parley_cli.render import on_terminal

    return "tree" if on_terminal() and not plain else "plain"


async def _run(
    context: typer.Context,
    task: str,
    arguments: dict[str, Any],
    options: dict[str, Any],
    detach: bool,
    shape: str,
    svg: Path | None,
) -> bool:
    from parley_cli.client import Parley
    from parley_cli.lines import put_json

    if shape == "tree":
        typer.secho("starting …\r", nl=False, err=True, dim=True)
    async with Parley(home=context.obj.root, **options) as client:
        if detach:
            job = await client.start(task, **arguments)
            if shape == "json":
                put_json({"event": "job-started", "job": job})
            else:
                typer.echo(job)
                typer.secho(f"watch it with: parley task watch {job[:8]}", err=True, dim=True)
            return True
        return await follow(client, client.run(task, **arguments), task, shape, svg)


async def follow(client: "Parley", source: Any, task: str, shape: str, svg: Path | None) -> bool:
    """Show the events of a job until it ends, asking the user what it asks; whether it is verified."""
    import asyncio
    from contextlib import aclosing, nullcontext

    from parley_cli.events import InputRequired, JobEnded
    from parley_cli.lines import JsonLines, PlainLines
    from parley_cli.render import Screen

    shows: list[Any] = [JsonLines() if shape == "json" else PlainLines()] if shape != "tree" else []
    screen = Screen(task, svg=svg, quiet=shape != "tree") if shape == "tree" or svg else None
    last: Event | None = None
    try:
        with screen or nullcontext():
            async with aclosing(source) as events:
                async for event in events:
                    last = event
                    for show in (*shows, *([screen] if screen else [])):
                        show.take(event)
                    if isinstance(event, InputRequired) and not await _answer(client, event, screen, shape):
                        return False
    except asyncio.CancelledError:
        await _interrupted(client, last.job if last else "")
        raise
    return isinstance(last, JobEnded) and last.verified


async def _answer(client: "Parley", event: Any, screen: Any, shape: str) -> bool:
    """Ask the user what the job asks, if there is one to ask; whether the job goes on."""
    if shape == "tree" and sys.stdin.isatty():
        screen.pause()
        said = _asked(event.question)
        if said:
            await client.answer(event.job, said)
            screen.resume()
            return True
    client.keep()
    typer.echo(f"parley: the job waits for an answer: parley task answer {event.job[:8]} TEXT", err=True)
    return False


def _asked(question: str) -> str:
    import signal

    from parley_cli.render import clean

    # asyncio turns Ctrl-C into a cancellation that a blocking read would not notice.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(f"{clean(question, 2000)}\n> ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""
    finally:
        signal.signal(signal.SIGINT, before)


async def _interrupted(client: "Parley", job: str) -> None:
    import asyncio

    if not job:
        return
    if client.lasting:
        typer.echo(
            f"\nparley: the job goes on. Watch it: parley task watch {job[:8]}   "
            f"End it: parley task cancel {job[:8]}",
            err=True,
        )
        return
    typer.echo("\nparley: cancelling the job and ending the platform that was started for it", err=True)
    task = asyncio.current_task()
    assert task
    task.uncancel()
    try:
        async with asyncio.timeout(10.0):
            await client.cancel(job)
    except TimeoutError:
        typer.echo("parley: the job did not confirm in 10 s; it is not run any further", err=True)
