"""Rollouts as the command shows them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
import typer

if TYPE_CHECKING:
    from parley_registry.client import Analysis, Audited, Rollout, VersionFigures


_CLUSTER = re.compile(r"\.svc[.:/ )]")
"""Part of the name of a Service in a cluster."""


def put_status(
    table: "Rollout", figures: "Mapping[str, VersionFigures]", found: "Analysis", unknown: str = ""
) -> None:
    """The table, figures and verdict as a line of JSON; `unknown` says why there are no figures."""
    from parley_cli.lines import put_json
    from parley_registry.client import figures_json

    put_json(
        {
            "agent": table.name,
            "revision": table.revision,
            "paused": table.paused,
            "versions": [asdict(one) for one in table.versions],
            "figures": [figures_json(one) for _, one in sorted(figures.items())],
            "figuresUnknown": unknown or None,
            "verdict": found.verdict if found.findings else None,
            "findings": [asdict(one) for one in found.findings],
        }
    )


def show_status(
    table: "Rollout", figures: "Mapping[str, VersionFigures]", found: "Analysis", unknown: str = ""
) -> None:
    """A table of versions, and the verdict on the canary below it. Without `figures`, for the reason `unknown`, nobody knows how
    they do, and it is said so in their place."""
    from rich.table import Table
    from rich.text import Text

    from parley_cli.render import clean, console, duration
    from parley_registry.client import VersionFigures, quantile

    shown = Table(box=None, pad_edge=False)
    columns: tuple[str, ...] = (
        "version",
        "state",
        "weight",
        "workers",
        "open",
        "ended",
        "failed",
        "p50",
        "p95",
        "metrics",
    )
    if not figures:
        columns = columns[:3]
    for column in columns:
        shown.add_column(column)
    known = {one.version: one for one in table.versions}
    for version in [*known, *(one for one in sorted(figures) if one not in known)]:
        did = figures.get(version, VersionFigures(version))
        spread = [quantile(did.durations, share) for share in (0.5, 0.95)]
        metrics = ", ".join(
            f"{name} {quantile(one, 0.5) or 0:.4g}" for name, one in sorted(did.metrics.items())
        )
        at = known.get(version)
        cells = (
            version,
            at.state if at else "not in the table",
            f"{at.weight:g} %" if at and at.weight else "",
            *(str(count) for count in (did.workers, did.open, did.judged)),
            f"{did.failed} ({did.failed / did.judged:.0%})" if did.judged else "",
            *("" if seconds is None else duration(seconds) for seconds in spread),
            metrics,
        )
        shown.add_row(*(Text(clean(cell, 120)) for cell in cells[: len(columns)]))
    console().print(shown)
    if not figures and table.versions:
        typer.echo(clean(f"tasks and figures: not known from here{': ' if unknown else ''}{unknown}", 2000))
        if _CLUSTER.search(unknown):
            typer.echo(
                f"its hosts are at addresses of a cluster: `kubectl get agentversions -l parley.dev/agent={clean(table.name, 120)}` "
                "shows open tasks, and this command in a pod there all figures"
            )
    if table.paused:
        typer.echo(
            f"paused: the weights stay as they are until `parley rollout resume {table.name}`", err=True
        )
    if not table.versions:
        typer.echo("there is no rollout table: contexts begin on whatever version a host serves", err=True)
    if found.findings:
        typer.echo(clean(f"{found.verdict}: {found.reasons}", 2000))


def put_history(lines: "Sequence[Audited]") -> None:
    """Each change as a line of JSON."""
    from parley_cli.lines import put_json

    for line in lines:
        put_json(asdict(line) | {"before": _read(line.before), "after": _read(line.after)})


def show_history(lines: "Sequence[Audited]") -> None:
    """A line for each change."""
    from datetime import UTC, datetime

    from parley_cli.render import clean
    from parley_registry.client import rollout_from

    for line in lines:
        when = datetime.fromtimestamp(line.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        who = f"  by {line.actor}" if line.actor else ""
        after = _read(line.after)
        told = told_table(rollout_from(line.namespace, line.name, after)) if after else ""
        typer.echo(clean(f"{when}  {told or 'no table'}{who}", 1000))
    if not lines:
        typer.echo("the rollout table was never changed", err=True)


def told_table(table: "Rollout") -> str:
    """The table in a line."""
    shares = ", ".join(
        f"{one.version} {one.state}" + (f" {one.weight:g} %" if one.weight else "") for one in table.versions
    )
    return f"{shares} (paused)" if table.paused else shares


def _read(kept: str) -> dict[str, Any] | None:
    """A table as the trail keeps it."""
    return orjson.loads(kept) if kept else None
