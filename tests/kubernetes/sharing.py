"""How an agent's versions share the contexts that begin, and whether who is called does as they are to."""

import time

from conversing import Conversations, Part, contexts
from installed import PATIENCE, Installed

from parley_registry.client import Rollout, RolloutVersion


def table(release: Installed, name: str) -> Rollout:
    """Which version begins how many contexts, as the Agent's status says."""
    rows = release.agent(name)["status"]["versions"]
    return Rollout(
        "", name, tuple(RolloutVersion(one["version"], one["state"], one["weight"]) for one in rows)
    )


def shared(release: Installed, name: str, weight: float) -> Rollout | None:
    """The table, once a canary has that share."""
    found = table(release, name)
    return found if any((one.state, one.weight) == ("Ramping", weight) for one in found.versions) else None


def canary(of: Rollout) -> str:
    """The version that is being tried."""
    return next(one.version for one in of.versions if one.state == "Ramping")


async def heard(
    release: Installed, name: str, version: str, parts: list[Part], of: Rollout, *, times: int = 20
) -> None:
    """Return once the fronts begin contexts on that version that the table gives to it: so many in a row, each by a connection of its own."""
    ends, right = time.monotonic() + PATIENCE, 0
    for context in map(str, contexts(100_000, seed=time.time_ns())):
        if of.choose(context) != version:
            continue
        async with Conversations(release.url(name), release.token) as talk:
            right = right + 1 if await talk.say(context, parts) == version else 0
        if right == times:
            return
        assert time.monotonic() < ends, f"the fronts of {name} do not begin contexts on {version}"


def resting(release: Installed, name: str, version: str) -> bool:
    """Whether a version has drained and is to have no pods."""
    rows = release.agent(name)["status"]["versions"]
    return any((one["version"], one["state"], one["replicas"]) == (version, "Drained", 0) for one in rows)
