"""`parley limits`: what an agent may do, seen and changed while it runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from parley_cli.home import Home
from parley_cli.options import Json, Misuse, complete

if TYPE_CHECKING:
    from parley_runtime.store import Limits, QueueState


def limits(
    context: typer.Context,
    agent: Annotated[
        str, typer.Argument(help="The agent's name: of the platform in this home, or within --store.")
    ] = "",
    store: Annotated[
        str,
        typer.Option(envvar="PARLEY_STORE", metavar="URL", help="The agent's store. Default: the platform's"),
    ] = "",
    concurrency: Annotated[
        int | None, typer.Option(min=0, help="Executions at once in one process. 0: what it was started with")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0, help="Executions begun a second, over all replicas. 0: no quota")
    ] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="Executions begun at once after a pause.")] = None,
    backlog: Annotated[
        int | None,
        typer.Option(min=0, help="Messages that may wait; beyond it they are refused. 0: any number"),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TENANT=WEIGHT", help="A tenant's share under backlog, 1 unless set. May be repeated."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """The limits of an agent and how full it is; with options, change them for all its replicas at once."""
    given = {"concurrency": concurrency, "rate": rate, "burst": burst, "backlog": backlog}
    changes = {name: value for name, value in given.items() if value is not None}
    weights = dict(_weight(one) for one in weight or ())
    address = store or _store_of(context.obj, agent)
    now, state = complete(_limits(address, agent, changes, weights))
    if as_json:
        from parley_cli.lines import put_json

        put_json(_json(now, state))
        return
    for name, value in _lines(now, state):
        typer.echo(f"{name:<12} {value}")


def _weight(given: str) -> tuple[str, float]:
    tenant, _, number = given.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not tenant or not 0 < weight < float("inf"):
        raise Misuse(f"--weight {given!r} is no share; write it like alice=3, with a number above 0")
    return tenant, weight


def _store_of(home: Home, agent: str) -> str:
    if not agent:
        raise Misuse("name an agent of the platform, or give --store URL")
    file = home.data / f"{agent}.db"
    if not file.is_file():
        there = sorted(one.stem for one in home.data.glob("*.db") if one.stem.partition("-")[0] != "registry")
        known = f"; there are {', '.join(there)}" if there else "; has the platform run here?"
        raise Misuse(f"{home.data} has no agent {agent!r}{known}")
    return f"sqlite:///{file}"


async def _limits(
    address: str, agent: str, changes: dict[str, Any], weights: dict[str, float]
) -> "tuple[Limits, QueueState]":
    from dataclasses import replace

    from parley_core.database import sqlite_path
    from parley_runtime.engines import engines_for
    from parley_runtime.settings import HostSettings

    if not agent and not address.startswith("sqlite:") and "schema=" not in address:
        raise Misuse("name the agent too: in this store each has a schema of its own")
    if address.startswith("sqlite:") and not sqlite_path(address).is_file():
        raise Misuse(f"there is no store at {address}; it comes into being when its agent is first started")
    if not address.startswith("sqlite:"):
        await _see_that_it_is_there(address, agent)
    settings = HostSettings(store=address, queue="", bus="")
    store = engines_for(settings, agent, version="", host="limits").store
    await store.open()
    try:
        now = await store.limits()
        if changes or weights:
            merged = {name: one for name, one in {**now.weights, **weights}.items() if one != 1}
            try:
                now = replace(now, **changes, weights=merged)
            except ValueError as error:
                raise Misuse(str(error)) from error
            await store.set_limits(now)
        return now, await store.queue_state()
    finally:
        await store.close()


async def _see_that_it_is_there(address: str, agent: str) -> None:
    """Raise Misuse when the agent has no schema yet, as opening its store would make one. What is wrong with the database
    is for the store to tell."""
    from parley_core.errors import Unavailable
    from parley_runtime.stores.postgres.connection import address_of
    from parley_runtime.stores.postgres.migrate import schemas

    wanted = address_of(address, agent)
    try:
        found = await schemas(wanted.dsn)
    except Unavailable:
        return
    if wanted.schema not in found:
        names = ", ".join(one.removeprefix("parley_") for one in found if one.startswith("parley_"))
        known = f"there are: {names}" if names else "an agent comes into being when its first host starts"
        what = f"agent {agent!r}" if "schema=" not in address else f"schema {wanted.schema!r}"
        raise Misuse(f"there is no {what} in this store; {known}")


def _json(now: "Limits", state: "QueueState") -> dict[str, Any]:
    return {
        "concurrency": now.concurrency,
        "rate": now.rate,
        "burst": now.burst,
        "backlog": now.backlog,
        "weights": dict(now.weights),
        "waiting": state.waiting,
        "waitingByPriority": {str(priority): count for priority, count in sorted(state.by_priority.items())},
        "running": state.running,
        "oldestSeconds": round(state.oldest, 3),
        "quotaLeft": None if state.quota is None else round(state.quota, 3),
    }


def _lines(now: "Limits", state: "QueueState") -> list[tuple[str, str]]:
    from parley_cli.render import clean, duration

    left = "" if state.quota is None else f", {max(0, int(state.quota))} left now"
    waiting = f"{state.waiting}" + (f", the oldest for {duration(state.oldest)}" if state.oldest else "")
    return [
        (
            "concurrency",
            f"{now.concurrency} in each process" if now.concurrency else "as each process was started",
        ),
        ("rate", f"{now.rate:g} a second, {now.burst} at once{left}" if now.rate else "no quota"),
        ("backlog", f"{now.backlog} messages" if now.backlog else "any number of messages"),
        *(("weight", f"{clean(tenant, 80)} = {weight:g}") for tenant, weight in sorted(now.weights.items())),
        ("waiting", waiting),
        ("running", f"{state.running}"),
    ]
