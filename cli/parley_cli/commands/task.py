"""`parley task`: look at tasks, take them up again, answer, cancel."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parley_cli.gathered import gathered
from parley_cli.meant import Meant
from parley_cli.options import MORE, Json, Misuse, complete, text_of, writable

if TYPE_CHECKING:
    from a2a.types import a2a_pb2 as pb

    from parley_cli.remote import Remote

app = typer.Typer(no_args_is_help=True, help="Look at tasks, take them up again, answer and cancel them.")

Id = Annotated[str, typer.Argument(help="The task's id, the beginning of one begun from here, or last.")]
Agent = Annotated[
    str,
    typer.Option(
        envvar="PARLEY_AGENT",
        help="Name or URL of the agent that has it. Default: the one it was begun with, else the orchestrator.",
    ),
]


@asynccontextmanager
async def _remote(meant: Meant, task: str, agent: str) -> "AsyncIterator[tuple[Remote, str]]":
    """The agent that has a task, and the task's whole id."""
    from parley_cli.client import ORCHESTRATOR
    from parley_cli.jobs import Jobs
    from parley_cli.remote import find, is_url

    known = Jobs(meant.home).find(task) if task else None
    name = agent or (known.agent if known else ORCHESTRATOR)
    place = "" if is_url(name) else meant.address
    access = meant.access
    async with access.http() as http:
        yield await find(name, place, access, http), known.task if known else task


@app.command("list")
@gathered(meant=Meant)
def list_(
    agent: Agent = "",
    limit: Annotated[int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=100, help="How many at most.")] = 20,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """An agent's tasks, latest first; by default the orchestrator's jobs."""
    complete(_list(meant, agent, limit, as_json))


async def _list(meant: Meant, agent: str, limit: int, as_json: bool) -> None:
    async with _remote(meant, "", agent) as (remote, _):
        page = await remote.tasks(size=limit)
    if as_json:
        for task in page.tasks:
            _put(task)
        return
    from rich.table import Table
    from rich.text import Text

    from parley_cli.jobs import Jobs
    from parley_cli.render import clean, console
    from parley_cli.story import state_name

    texts = {job.task: job.text for job in Jobs(meant.home).all()}
    table = Table(box=None, pad_edge=False)
    for column in ("task", "state", "since", "what"):
        table.add_column(column, no_wrap=column != "what")
    for task in page.tasks:
        since = task.status.timestamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S") + " UTC"
        cells = (task.id, state_name(task.status.state), since, texts.get(task.id, ""))
        table.add_row(*(Text(clean(cell, 80)) for cell in cells))
    console().print(table)


@app.command()
@gathered(meant=Meant)
def get(
    task: Id,
    agent: Agent = "",
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """A task as its agent has it now. With --json the protocol's Task."""
    _show(meant, task, agent, as_json)


def _show(meant: Meant, task: str, agent: str, as_json: bool) -> None:
    found = complete(_get(meant, task, agent))
    if as_json:
        _put(found)
        return
    from parley_cli.render import clean
    from parley_cli.story import state_name, text_of

    typer.echo(f"{found.id}  {state_name(found.status.state)}  context {clean(found.context_id)}")
    text = text_of(found.status.message)
    if text:
        typer.echo(f"  {clean(text, 2000)}")
    for artifact in found.artifacts:
        types = ", ".join(part.media_type or "?" for part in artifact.parts)
        typer.echo(f"  artifact {clean(artifact.name or artifact.artifact_id)}  {clean(types)}")


async def _get(meant: Meant, task: str, agent: str) -> "pb.Task":
    async with _remote(meant, task, agent) as (remote, task_id):
        return await remote.get(task_id)


@app.command()
@gathered(meant=Meant)
def show(
    task: Id,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace", envvar="PARLEY_TRACE", help="Its steps and its children's, with their times."
        ),
    ] = False,
    agent: Agent = "",
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """How a task went. --trace reads it from the stores of the hosts involved; no collector is needed."""
    if trace:
        complete(_trace(meant, task, agent, as_json))
    else:
        _show(meant, task, agent, as_json)


async def _trace(meant: Meant, task: str, agent: str, as_json: bool) -> None:
    from parley_cli.lines import put_json
    from parley_cli.render import console
    from parley_cli.trace import read, tree

    async with _remote(meant, task, agent) as (remote, task_id):
        found = await read(remote.card.name, remote.base, task_id, meant.access)
    if as_json:
        put_json(found.to_json())
        return

    console().print(tree(found), soft_wrap=True)


@app.command()
@gathered(meant=Meant)
def watch(
    task: Id,
    out: Annotated[
        Path | None,
        typer.Option(
            envvar="PARLEY_OUT", metavar="DIR", help="Where results go, for a job not begun from here."
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", envvar="PARLEY_PLAIN", help="Lines of text, on a terminal too.")
    ] = False,
    svg: Annotated[
        Path | None,
        typer.Option(envvar="PARLEY_SVG", metavar="FILE", help="Save the final picture as an SVG file."),
    ] = None,
    agent: Agent = "",
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Show a task from its beginning and follow it to its end.

    A job of the team is shown as `parley run` does it, results and exit codes included; a task of another
    agent as `parley send` does it. Ctrl-C stops watching; the task goes on.
    """
    from parley_cli.commands.run import show_as

    for folder, option in ((out, "--out"), (svg.parent if svg else None, "--svg")):
        if folder:
            writable(folder, option)
    done = complete(_watch(meant, task, out, show_as(as_json, plain), svg, agent))
    raise typer.Exit(0 if done else 1)


async def _watch(meant: Meant, task: str, out: Path | None, shape: str, svg: Path | None, agent: str) -> bool:
    from contextlib import aclosing

    from parley_cli.client import ORCHESTRATOR, Parley
    from parley_cli.commands.run import follow
    from parley_cli.commands.send import Printer
    from parley_cli.jobs import Jobs

    known = Jobs(meant.home).find(task)
    if (agent or (known.agent if known else ORCHESTRATOR)) == ORCHESTRATOR:
        async with Parley(
            home=meant.home.root, registry=meant.address, token_file=meant.token_file
        ) as client:
            return await follow(
                client, client.watch(task, out=out), known.text if known else task, shape, svg
            )
    printer = Printer(shape == "json")
    async with _remote(meant, task, agent) as (remote, task_id):
        async with aclosing(remote.follow(task_id)) as events:
            async for event in events:
                printer.take(event)
    return printer.close()


@app.command()
@gathered(meant=Meant)
def cancel(
    task: Id,
    agent: Agent = "",
    *,
    meant: Meant,
) -> None:
    """Cancel a task, and all it has delegated. Exit code 0 when it is canceled now."""
    state = complete(_cancel(meant, task, agent))
    typer.echo(state)
    raise typer.Exit(0 if state == "canceled" else 1)


async def _cancel(meant: Meant, task: str, agent: str) -> str:
    from parley_cli.story import state_name

    async with _remote(meant, task, agent) as (remote, task_id):
        return state_name((await remote.cancel(task_id)).status.state)


@app.command(context_settings=MORE)
@gathered(meant=Meant)
def answer(
    task: Id,
    text: Annotated[str, typer.Argument(help="The answer; - reads it from standard input.")],
    agent: Agent = "",
    *,
    meant: Meant,
) -> None:
    """Answer a task that waits for input. It goes on; `parley task watch` shows it."""
    complete(_answer(meant, task, text_of(meant.context, text), agent))


async def _answer(meant: Meant, task: str, text: str, agent: str) -> None:
    import uuid

    from a2a.types import a2a_pb2 as pb

    from parley_cli.commands.send import aside
    from parley_cli.story import state_name
    from parley_runtime.store import INTERRUPTED

    async with _remote(meant, task, agent) as (remote, task_id):
        now = await remote.get(task_id)
        if now.status.state not in INTERRUPTED:
            raise Misuse(f"the task does not wait for an answer: it is {state_name(now.status.state)}")
        message = pb.Message(message_id=str(uuid.uuid4()), role=pb.ROLE_USER, task_id=task_id)
        message.parts.add(text=text)
        await remote.start(message, say=aside)


def _put(task: "pb.Task") -> None:
    from google.protobuf.json_format import MessageToDict

    from parley_cli.lines import put_json

    put_json(MessageToDict(task))
