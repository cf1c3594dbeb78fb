"""`parley up`, `down`, `status` and `logs`: the embedded platform."""

import time
from pathlib import Path
from typing import Annotated

import typer

from parley_cli.home import Home
from parley_cli.options import Json, Misuse, complete


def up(
    context: typer.Context,
    nacos: Annotated[
        str,
        typer.Option(
            envvar="PARLEY_REGISTRY_NACOS",
            metavar="nacos://USER:PASSWORD@HOST:8848/NAMESPACE",
            help="Have the platform's registry serve the agents of a Nacos, and publish the team there.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Start the platform of this home and leave it running: the registry and the team's agents.

    They are processes on this machine, on loopback only, and are restarted when they die. Returns when every
    skill of the team can be found. Does nothing when it runs already.
    """
    from parley_cli import local
    from parley_cli.platform import killed

    if nacos:
        from parley_cli.overnacos import OverNacos, require

        OverNacos.of(nacos)
        complete(require(nacos))
    before = killed(context.obj)
    platform, started = local.up(context.obj, nacos)
    if before and started:
        typer.echo("parley: the platform had been killed; its unfinished tasks go on now", err=True)
    if as_json:
        from parley_cli.lines import put_json

        put_json({**platform.to_json(), "started": started})
        return
    word = "started" if started else "already running"
    over = f" {platform.over}" if platform.over.shown else ""
    typer.echo(f"{word}: {len(platform.processes)} processes, registry at {platform.registry}{over}")


def down(context: typer.Context) -> None:
    """End the platform of this home and all its processes. Tasks that were running go on at the next start."""
    from parley_cli import local

    typer.echo("stopped" if local.down(context.obj) else "nothing was running")


def status(context: typer.Context, as_json: Json = False) -> None:
    """Show the platform's processes. Exit code 0 when it is ready, 1 when it is not (or not running)."""
    from parley_cli.platform import find_process, killed, load, supervised

    home: Home = context.obj
    platform, alive, gone = load(home), supervised(home), killed(home)
    ready = bool(platform and alive and platform.ready)
    if as_json:
        from parley_cli.lines import put_json

        put_json(
            {
                "home": str(home.root),
                "running": alive,
                "killed": gone is not None,
                **(platform.to_json() if platform else {}),
                "ready": ready,
            }
        )
        raise typer.Exit(0 if ready else 1)
    if not platform or not (alive or any(one.alive for one in platform.processes.values())):
        if gone:
            typer.echo(
                f"the platform in {home.root} is not running: it was killed, or the machine went down.\n"
                "`parley up` starts it again and its unfinished tasks go on; `parley logs` shows what it said last"
            )
        else:
            last = f" (last: {platform.failed})" if platform and platform.failed else ""
            typer.echo(f"no platform runs in {home.root}{last}: `parley up` starts one")
        raise typer.Exit(1)
    from rich.table import Table

    from parley_cli.render import console

    table = Table(box=None, pad_edge=False)
    for column in ("process", "state", "pid", "memory", "restarts", "url"):
        table.add_column(column, justify="right" if column in ("pid", "memory", "restarts") else "left")
    for one in platform.processes.values():
        found = find_process(one.pid, one.created)
        memory = f"{found.memory_info().rss / 2**20:.0f} MB" if found else ""
        state = one.phase if found or one.phase != "up" else "gone"
        table.add_row(
            one.name,
            state + (f" ({one.note})" if one.note else ""),
            str(one.pid or ""),
            memory,
            str(one.restarts),
            one.url,
        )
    console().print(table)
    if not alive:
        typer.echo("its supervisor was killed: `parley down` clears up, `parley up` starts again", err=True)
    elif not home.kept.exists():
        typer.echo("it ends with the last command that uses it; `parley up` keeps it", err=True)
    raise typer.Exit(0 if ready else 1)


def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A process, as `parley status` names it. Default: all.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", envvar="PARLEY_FOLLOW", help="Go on as it grows.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", envvar="PARLEY_LINES", min=0, help="Lines from the end.")
    ] = 50,
) -> None:
    """Print the end of the processes' logs."""
    home: Home = context.obj
    found = {path.stem: path for path in sorted(home.logs.glob("*.log"))}
    if name and name not in found:
        raise Misuse(f"there is no log of {name!r}; there are: {', '.join(found) or 'none yet'}")
    chosen = {name: found[name]} if name else found
    places = {one: _print_end(one if not name else "", path, lines) for one, path in chosen.items()}
    while follow:
        time.sleep(0.2)
        for one, path in chosen.items():
            places[one] = _print_more(one if not name else "", path, places[one])


def _print_end(label: str, path: Path, lines: int) -> int:
    content = path.read_bytes()
    for line in content.decode("utf-8", "replace").splitlines()[-lines:] if lines else []:
        _print(label, line)
    return len(content)


def _print_more(label: str, path: Path, place: int) -> int:
    size = path.stat().st_size if path.exists() else 0
    if size < place:
        place = 0  # it was set aside and begun anew
    if size == place:
        return place
    with path.open("rb") as file:
        file.seek(place)
        content = file.read()
    whole = content.rfind(b"\n") + 1
    for line in content[:whole].decode("utf-8", "replace").splitlines():
        _print(label, line)
    return place + whole


def _print(label: str, line: str) -> None:
    typer.echo(f"{label:<12} {line}" if label else line)
