"""Options of `parley rollout`, and what their texts mean."""

from typing import TYPE_CHECKING, Annotated

import typer

from parley_cli.options import Misuse

if TYPE_CHECKING:
    from parley_cli.rollout import Step
    from parley_registry.client import Terms

Agent = Annotated[str, typer.Argument(help="The agent's name.")]
Since = Annotated[
    float,
    typer.Option(envvar="PARLEY_SINCE", min=1, max=30 * 86400, help="Seconds of the past that count."),
]
Rules = Annotated[
    str,
    typer.Option(
        "--analysis",
        envvar="PARLEY_ANALYSIS",
        metavar="RULES",
        help="What a canary is judged by: failure-rate, p95, metric:NAME:lower, metric:NAME:higher; none: nothing.",
    ),
]
Level = Annotated[
    float,
    typer.Option(
        envvar="PARLEY_LEVEL", help="Chance that a canary like the current version is said to do worse."
    ),
]
Sample = Annotated[
    int, typer.Option(envvar="PARLEY_SAMPLE", min=1, help="Ended tasks of either version before a verdict.")
]
Tolerance = Annotated[
    float,
    typer.Option(envvar="PARLEY_TOLERANCE", min=0, help="How much slower a canary may be: 0.2 is 20 %."),
]
Drain = Annotated[
    float,
    typer.Option(
        envvar="PARLEY_DRAIN_WAIT", min=0, help="Seconds to wait for the tasks of versions that drain."
    ),
]


def terms_of(
    rules: Rules = "failure-rate,p95", level: Level = 0.01, sample: Sample = 20, tolerance: Tolerance = 0.2
) -> "Terms":
    """What a canary is judged by (see `gathered`). Raises BadRequest."""
    from parley_registry.client import Terms, check_terms

    named = () if rules == "none" else tuple(one.strip() for one in rules.split(","))
    return check_terms(Terms(named, level, sample, tolerance))


def weight_of(given: str) -> tuple[str, float]:
    """Version and weight of `1.1.0=25`. Raises Misuse."""
    version, _, number = given.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not version or not 0 <= weight <= 100:
        raise Misuse(f"{given!r} is no weight; write it like 1.1.0=25, in per cent")
    return version, weight


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def step_of(given: str) -> "Step":
    """The step that `25:5m` or `100` says. Raises Misuse."""
    from parley_cli.rollout import Step

    weight, _, pause = given.strip().partition(":")
    try:
        step = Step(float(weight), float(pause.rstrip("smh")) * _UNITS[pause[-1]] if pause else 0.0)
    except (ValueError, KeyError):
        step = Step(-1.0)
    if not (0 < step.weight <= 100 and 0 <= step.pause <= 30 * 86400):
        raise Misuse(
            f"{given!r} is no step; write it like 25:5m (per cent, and a pause as 90s, 5m or 1h) or 100"
        )
    return step
