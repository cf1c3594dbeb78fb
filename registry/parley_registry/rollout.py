"""The rollout table of an agent: which of its versions get the contexts that begin now, and how many of them each."""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson

from parley_registry.entry import Agent
from parley_registry.errors import Fault, RolloutRejected
from parley_registry.versions import is_version

State = Literal["Inactive", "Ramping", "Current", "Draining", "Drained"]
MAX_VERSIONS = 64
"""Most versions in one table."""
_SERVING = ("Ramping", "Current")


@dataclass(frozen=True, slots=True)
class RolloutVersion:
    """A version's part. `weight` is in per cent of the new contexts, with at most two decimals."""

    version: str
    state: State
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """The table of one agent. `revision` is what a change of it must know (0: there is no table yet); with no
    `versions`, contexts begin on whatever version a host serves. While `paused`, who takes a rollout through its steps
    changes no weight, but that of a canary that does worse."""

    namespace: str
    name: str
    versions: tuple[RolloutVersion, ...] = ()
    revision: int = 0
    paused: bool = False

    @property
    def agent(self) -> Agent:
        return Agent(self.namespace, self.name)

    @property
    def current(self) -> str:
        """The version that is Current, or ""."""
        return next((one.version for one in self.versions if one.state == "Current"), "")

    def choose(self, context_id: str) -> str:
        """The version that a context begins on, always the same one for the same table; "" when none has a weight.

        Each version draws from a context's hash and its own name, and the best draw for its weight wins (weighted
        rendezvous hashing): a version wins exactly its share, and when weights change, no scheme that knows only the
        table moves fewer contexts.
        """
        serving = [one for one in self.versions if one.weight > 0]
        return min(serving, key=lambda one: _draw(context_id, one), default=_NONE).version


_NONE = RolloutVersion("", "Inactive")


def _draw(context_id: str, of: RolloutVersion) -> tuple[float, str]:
    # Surrogates, which no JSON parser of ours lets through, must not make a front fail.
    told = f"{of.version}\n{context_id}".encode(errors="surrogatepass")
    number = int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big")
    return -math.log((number + 0.5) / 2**64) / of.weight, of.version


def content_json(rollout: Rollout) -> dict[str, Any]:
    """What a table says, without whose it is and its revision."""
    return {
        "versions": [
            {"version": one.version, "state": one.state, "weight": one.weight} for one in rollout.versions
        ],
        "paused": rollout.paused,
    }


def content_text(rollout: Rollout) -> str:
    """`content_json` as text, as records and trails keep it."""
    return orjson.dumps(content_json(rollout)).decode()


def rollout_from(namespace: str, name: str, content: Mapping[str, Any], revision: int = 0) -> Rollout:
    """The table that `content_json` told. Raises KeyError, TypeError or ValueError for what it did not tell."""
    versions = tuple(
        RolloutVersion(str(one["version"]), one["state"], float(one["weight"])) for one in content["versions"]
    )
    return Rollout(namespace, name, versions, revision, bool(content["paused"]))


def same_content(one: Rollout, other: Rollout) -> bool:
    """Whether two tables say the same, whatever their revisions."""
    return (one.versions, one.paused) == (other.versions, other.paused)


def check_rollout(rollout: Rollout, known: Collection[str]) -> None:
    """Raise RolloutRejected with every fault of a table for an agent that has the versions `known`."""
    faults = tuple(_faults(rollout, known))
    if faults:
        counted = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise RolloutRejected(
            f"the rollout table of {rollout.name} has {counted}; correct what is named and set it again",
            faults,
        )


def _faults(rollout: Rollout, known: Collection[str]) -> Iterator[Fault]:
    if not rollout.versions:
        return
    if len(rollout.versions) > MAX_VERSIONS:
        yield Fault("versions", f"has {len(rollout.versions)} members; at most {MAX_VERSIONS} are taken")
        return
    times = Counter(one.version for one in rollout.versions)
    for index, one in enumerate(rollout.versions):
        here = f"versions[{index}]"
        if not is_version(one.version):
            yield Fault(f"{here}.version", f"{one.version[:64]!r} is not a semantic version")
        elif one.version not in known:
            yield Fault(f"{here}.version", f"{one.version} is not published; publish it first")
        elif times[one.version] > 1:
            yield Fault(f"{here}.version", f"{one.version} stands in the table more than once")
        if one.state not in get_args(State):
            yield Fault(f"{here}.state", f"must be one of {', '.join(get_args(State))}")
        elif not _is_weight(one.weight):
            yield Fault(f"{here}.weight", "must be a number from 0 to 100 with at most two decimals")
        elif one.weight and one.state not in _SERVING:
            yield Fault(f"{here}.weight", f"must be 0 for a version that is {one.state}")
    current = sum(one.state == "Current" for one in rollout.versions)
    if current != 1:
        yield Fault("versions", f"{current or 'no'} versions are Current; exactly one must be")
    total = sum(round(one.weight * 100) for one in rollout.versions if _is_weight(one.weight))
    if total != 100_00:
        yield Fault("versions", f"the weights sum up to {total / 100:g}; they must be 100 together")


def _is_weight(weight: float) -> bool:
    return (
        isinstance(weight, int | float)
        and math.isfinite(weight)
        and 0 <= weight <= 100
        and abs(weight * 100 - round(weight * 100)) < 1e-6
    )
