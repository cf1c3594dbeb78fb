"""The `parley` command: the tree of its subcommands, and what its errors look like.

Nothing heavy is imported before a subcommand runs, so that `parley --help` and shell completion stay quick.
"""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from parley_cli import exits
from parley_cli.commands import (
    agents,
    host,
    keys,
    limits,
    mcp,
    platform,
    prompts,
    registry,
    rollout,
    run,
    send,
    task,
)
from parley_cli.home import Home
from parley_cli.options import MORE
from parley_core.errors import ParleyError

app = typer.Typer(
    name="parley",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Teams of A2A agents that run for real. `parley run TASK` gives the team a job on a git repository.",
    epilog="Every option can also be set as PARLEY_… in the environment. PARLEY_DEBUG=1 shows errors in full.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"parley {version('parley-cli')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    home: Annotated[
        str,
        typer.Option(
            envvar="PARLEY_HOME", metavar="DIR", help="Folder that holds the platform. Default: ./.parley"
        ),
    ] = "",
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.obj = Home.at(home)


app.command("run", context_settings=MORE)(run.run)
app.command("up")(platform.up)
app.command("down")(platform.down)
app.command("status")(platform.status)
app.command("logs")(platform.logs)
app.command("send", context_settings=MORE)(send.send)
app.command("host")(host.host)
app.command("registry")(registry.registry)
app.command("limits")(limits.limits)
app.add_typer(agents.app, name="agents")
app.add_typer(mcp.app, name="mcp")
app.add_typer(prompts.app, name="prompts")
app.add_typer(rollout.app, name="rollout")
app.add_typer(task.app, name="task")
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Run the command line of this process and exit with a code of `exits`."""
    guarded(app)


def guarded(command: Callable[[], object]) -> None:
    """Run a command of this process and exit with a code of `exits`."""
    try:
        command()
    except KeyboardInterrupt:
        sys.exit(exits.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exits.OUTPUT_GONE)
    except ParleyError as error:
        if os.environ.get("PARLEY_DEBUG"):
            raise
        typer.echo(f"parley: {error}{exits.hint_for(error)}", err=True)
        sys.exit(exits.code_of(error))


if __name__ == "__main__":
    main()
