"""`parley rollout`: which versions of an agent get the contexts that begin now, and how they do."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from parley_cli import exits
from parley_cli.gathered import gathered
from parley_cli.meant import Meant
from parley_cli.options import Json, Misuse, complete
from parley_cli.rolloutoptions import Agent, Drain, Since, step_of, terms_of, weight_of

if TYPE_CHECKING:
    from parley_cli.fleet import Fleet
    from parley_cli.rollout import Outcome
    from parley_registry.client import Rollout, Terms

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Roll a new version of an agent out, step by step.")


@app.command()
@gathered(terms=terms_of, meant=Meant)
def status(
    agent: Agent, since: Since = 3600.0, as_json: Json = False, *, terms: "Terms", meant: Meant
) -> None:
    """The versions, their state and weight, what they have to do and how they did; and what that says of a canary."""
    _on(meant, agent, lambda fleet: _show(fleet, since, terms, as_json))


@app.command()
@gathered(terms=terms_of, meant=Meant)
def watch(
    agent: Agent,
    since: Since = 3600.0,
    every: Annotated[
        float, typer.Option(envvar="PARLEY_EVERY", min=0.2, help="Seconds between two looks.")
    ] = 2.0,
    as_json: Json = False,
    *,
    terms: "Terms",
    meant: Meant,
) -> None:
    """`status` again and again, until Ctrl-C."""

    async def again(fleet: "Fleet") -> None:
        import asyncio

        while True:
            await _show(fleet, since, terms, as_json)
            await asyncio.sleep(every)

    _on(meant, agent, again)


@app.command("set")
@gathered(meant=Meant)
def set_(
    agent: Agent,
    weights: Annotated[
        list[str],
        typer.Argument(help="VERSION=WEIGHT in per cent, 100 together; the first is the current version."),
    ],
    drain: Drain = 0.0,
    *,
    meant: Meant,
) -> None:
    """Set the weights by hand. Versions that are not named get no new contexts and drain."""
    from parley_registry.client import shifting

    wanted = dict(weight_of(one) for one in weights)
    _change(meant, agent, lambda now: shifting.weighted(now, wanted), drain)


@app.command()
@gathered(terms=terms_of, meant=Meant)
def run(
    agent: Agent,
    version: Annotated[str, typer.Argument(help="The version to roll out; it has to be published.")],
    steps: Annotated[
        str,
        typer.Option(
            envvar="PARLEY_STEPS",
            metavar="WEIGHT:PAUSE,…",
            help="Per cent of the new contexts and how long they stay there at least, as 90s, 5m or 1h.",
        ),
    ] = "5:5m,25:5m,100",
    current: Annotated[
        str,
        typer.Option(
            "--from", envvar="PARLEY_FROM", help="The current version, if the agent has no rollout table yet."
        ),
    ] = "",
    drain: Drain = 600.0,
    *,
    terms: "Terms",
    meant: Meant,
) -> None:
    """Roll a version out, in the foreground: raise its weight step by step, judge it between them, take its weight away at
    once when it does worse (exit code 1). While it is paused its steps wait. Ctrl-C leaves the weights as they are; the same
    command goes on from there."""
    planned = [step_of(one) for one in steps.split(",")]
    if [one.weight for one in planned] != sorted({one.weight for one in planned}):
        raise Misuse(f"--steps {steps!r}: each weight must be more than the one before")

    async def all_of_it(fleet: "Fleet") -> "Outcome":
        from parley_cli.rollout import drain as drained
        from parley_cli.rollout import run as rolled
        from parley_cli.rolloutview import told_table

        await _begin(fleet, version, current)
        outcome = await rolled(fleet, version, planned, terms, _say)
        if not outcome.done:
            _say(outcome.reason)
        _say(told_table(await drained(fleet, drain if outcome.done else 0.0, _say)))
        return outcome

    if not _on(meant, agent, all_of_it).done:
        raise typer.Exit(exits.NOT_DONE)


@app.command()
@gathered(meant=Meant)
def promote(
    agent: Agent,
    version: Annotated[str, typer.Argument(help="The version. Default: the canary")] = "",
    drain: Drain = 0.0,
    *,
    meant: Meant,
) -> None:
    """Give a version all new contexts now, whatever an analysis says; the one before drains."""
    from parley_registry.client import shifting

    _change(meant, agent, lambda now: shifting.promote(now, version), drain)


@app.command()
@gathered(meant=Meant)
def abort(
    agent: Agent,
    move: Annotated[
        bool, typer.Option(envvar="PARLEY_MOVE", help="Have the current version go on with them instead.")
    ] = False,
    drain: Drain = 0.0,
    *,
    meant: Meant,
) -> None:
    """Have no new context begin on the canary any more; those that run go on there to their end."""
    from parley_registry.client import shifting

    _change(meant, agent, lambda now: shifting.abort(now, move=move), drain)


@app.command()
@gathered(meant=Meant)
def pause(agent: Agent, *, meant: Meant) -> None:
    """Have no weight change until `resume`, but that of a canary that does worse: it loses it at once."""
    from parley_registry.client import shifting

    _change(meant, agent, shifting.pause)


@app.command()
@gathered(meant=Meant)
def resume(agent: Agent, *, meant: Meant) -> None:
    """Let a rollout that was paused go on with its steps."""
    from parley_registry.client import shifting

    _change(meant, agent, shifting.resume)


@app.command()
@gathered(meant=Meant)
def undo(agent: Agent, drain: Drain = 0.0, *, meant: Meant) -> None:
    """Abort the canary; without one, make the version current again that was before."""
    from parley_registry.client import shifting

    _change(meant, agent, shifting.undo, drain)


@app.command()
@gathered(meant=Meant)
def retire(
    agent: Agent, version: Annotated[str, typer.Argument(help="A version that has drained.")], *, meant: Meant
) -> None:
    """Take a version out of the table that has drained: once nobody hosts it, its old contexts are the current version's."""
    from parley_registry.client import shifting

    _change(meant, agent, lambda now: shifting.retire(now, version))


@app.command()
@gathered(meant=Meant)
def history(
    agent: Agent,
    limit: Annotated[
        int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=200, help="How many changes at most.")
    ] = 20,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """How the rollout table was changed, when and by whom, newest first."""
    from parley_cli.rolloutview import put_history, show_history

    lines = meant.ask_catalogue(lambda catalogue: catalogue.trail(name=agent, action="rollout", limit=limit))
    put_history(lines) if as_json else show_history(lines)


def _change(meant: Meant, agent: str, step: "Callable[[Rollout], Rollout]", seconds: float = 0.0) -> None:
    async def changed(fleet: "Fleet") -> "Rollout":
        from parley_cli.rollout import drain

        table = await fleet.change(step)
        return await drain(fleet, seconds, _say) if seconds else table

    from parley_cli.rolloutview import told_table

    _say(told_table(_on(meant, agent, changed)))


def _on(meant: Meant, agent: str, work: "Callable[[Fleet], Awaitable[T]]") -> T:
    """What `work` makes of the agent's versions."""
    access = meant.access

    async def asked() -> T:
        from parley_cli.fleet import Fleet

        async with access.registry(meant.address) as registry, access.http() as http:
            return await work(Fleet(registry, http, agent))

    return complete(asked())


async def _show(fleet: "Fleet", since: float, terms: "Terms", as_json: bool) -> None:
    from parley_cli.fleet import NoFigures
    from parley_cli.rolloutview import put_status, show_status
    from parley_registry.client import Analysis, VersionFigures, analyse, shifting

    table = await fleet.table()
    if not table.versions:
        await fleet.versions()  # raises for an agent that there is not
    try:
        figures = await fleet.figures(since)
    except NoFigures as error:
        figures, unknown = {}, str(error)
    else:
        unknown = ""
    canary = shifting.canary(table)
    found = Analysis()
    if canary and not unknown:
        current, ours = (figures.get(one, VersionFigures(one)) for one in (table.current, canary))
        found = analyse(current, ours, terms)
    (put_status if as_json else show_status)(table, figures, found, unknown)


async def _begin(fleet: "Fleet", version: str, current: str) -> None:
    """See that there is a table to begin from."""
    from parley_registry.client import shifting

    if (await fleet.table()).versions:
        return
    others = [one for one in await fleet.versions() if one != version]
    if not current and len(others) != 1:
        known = ", ".join(others) or "no other"
        raise Misuse(
            f"{fleet.name} has no rollout table; say with --from which version is current (it has {known})"
        )
    await fleet.change(lambda now: shifting.begin(now, current or others[0]))


def _say(text: str) -> None:
    from parley_cli.render import clean

    typer.echo(clean(text, 2000))
