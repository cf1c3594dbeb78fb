"""Moving new contexts from one version to another: a rollout table in, the next one out. Pure.

The table stands in this order: the current version, the canary, then the others, those that were retired last first, but canaries
that were aborted after those that have been current: what is gone back to is not what has failed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from parley_registry.errors import BadRequest
from parley_registry.rollout import Rollout, RolloutVersion

KEPT = 10
"""Versions that stay in a table although they have drained, or are Inactive; the first of them is retired when there is another."""


def begin(table: Rollout, current: str) -> Rollout:
    """A first table: all new contexts begin on `current`. The same if there is one already."""
    return table if table.versions else _with(table, [RolloutVersion(current, "Current", 100.0)])


def shift(table: Rollout, version: str, weight: float) -> Rollout:
    """Have `weight` per cent of the new contexts begin on a canary, the rest on the current version; another canary's
    contexts drain. Raises BadRequest for a table without a current version, or when that is the canary."""
    current = _current(table)
    if version == current:
        raise BadRequest(
            f"{version} is the current version of {table.name} already; there is nothing to roll out"
        )
    canary = RolloutVersion(version, "Ramping", weight)
    serving = [RolloutVersion(current, "Current", round(100 - weight, 2)), canary]
    return _with(table, [*serving, *_rest(table, {current, version})])


def promote(table: Rollout, version: str = "") -> Rollout:
    """Make a version (the canary, unless named) current for all new contexts; what was current drains, and a pause is
    over. Raises BadRequest."""
    chosen = version or canary(table)
    if not chosen:
        raise BadRequest(f"{table.name} has no canary; name the version that is to be current")
    return resume(_with(table, [RolloutVersion(chosen, "Current", 100.0), *_rest(table, {chosen})]))


def abort(table: Rollout, *, move: bool = False) -> Rollout:
    """Have no new context begin on a canary any more; a pause is over. Those that run drain, or (`move`) go on with the
    current version: the canary is Inactive then. Raises BadRequest when there is none."""
    gone = canary(table)
    if not gone:
        raise BadRequest(f"{table.name} has no canary; there is nothing to abort")
    current = _current(table)
    failed = RolloutVersion(gone, "Inactive" if move else "Draining")
    rest = _rest(table, {current, gone})
    return resume(_with(table, [RolloutVersion(current, "Current", 100.0), *rest, failed]))


def pause(table: Rollout) -> Rollout:
    """The table whose weights stay as they are (see `Rollout.paused`) until it is resumed. Raises BadRequest when there is
    none."""
    if not table.versions:
        raise BadRequest(f"{table.name} has no rollout table; there is nothing to pause")
    return replace(table, paused=True)


def resume(table: Rollout) -> Rollout:
    """The table that is not paused."""
    return replace(table, paused=False)


def undo(table: Rollout) -> Rollout:
    """Go back: abort the canary, or else make current again what was current before. Raises BadRequest when there is neither."""
    if canary(table):
        return abort(table)
    before = next((one.version for one in table.versions if one.state in ("Draining", "Drained")), "")
    if not before:
        raise BadRequest(f"{table.name} has no version to go back to")
    return promote(table, before)


def drained(table: Rollout, is_open: Callable[[str], bool]) -> Rollout:
    """The table in which versions that drain are Drained when nothing of them is open."""
    return _with(
        table,
        [
            replace(one, state="Drained") if one.state == "Draining" and not is_open(one.version) else one
            for one in table.versions
        ],
    )


def retire(table: Rollout, version: str) -> Rollout:
    """The table without a version that has drained: what its contexts still ask for is then done by the current version.
    Raises BadRequest for one that has not."""
    if not any(one.version == version and one.state == "Drained" for one in table.versions):
        raise BadRequest(
            f"{version} of {table.name} has not drained; only what has may leave the rollout table"
        )
    return _with(table, [one for one in table.versions if one.version != version])


def weighted(table: Rollout, weights: Mapping[str, float]) -> Rollout:
    """The table with just these weights: the first named is current, the others with a weight are canaries."""
    first = next(iter(weights))
    named = [
        RolloutVersion(version, "Current" if version == first else "Ramping", weight)
        for version, weight in weights.items()
    ]
    return _with(table, [*named, *_rest(table, weights.keys())])


def canary(table: Rollout) -> str:
    """The version that is Ramping, or ""."""
    return next((one.version for one in table.versions if one.state == "Ramping"), "")


def _current(table: Rollout) -> str:
    if not table.current:
        raise BadRequest(f"{table.name} has no current version; set one first")
    return table.current


def _rest(table: Rollout, without: Iterable[str]) -> list[RolloutVersion]:
    left = [one for one in table.versions if one.version not in set(without)]
    return [
        replace(one, state="Draining", weight=0.0) if one.state in ("Current", "Ramping") else one
        for one in left
    ]


def _with(table: Rollout, versions: list[RolloutVersion]) -> Rollout:
    gone = [one for one in versions if one.state in ("Drained", "Inactive")]
    return replace(table, versions=tuple(one for one in versions if one not in gone[KEPT:]))
