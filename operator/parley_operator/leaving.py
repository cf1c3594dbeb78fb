"""`python -m parley_operator.leaving TEAM`: delete a team while there is still an operator that lets its tasks end.

The chart runs it before it is uninstalled: Helm would delete the operator first, and nobody would be left to take the
finalizers of the team's Agents away. Agents that are not the team's stay, and go on running.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable

from parley_core.errors import ParleyError
from parley_operator.kube.access import find_access
from parley_operator.kube.client import Kube
from parley_operator.kube.errors import NotFound
from parley_operator.kube.kinds import AGENT, TEAM
from parley_operator.kube.wire import Wire

_LOOK = 1.0


async def remove_team(
    kube: Kube, namespace: str, team: str, *, seconds: float, say: Callable[[str], None]
) -> tuple[str, ...]:
    """Delete the team and wait until its Agents are gone, at most for so many seconds; the names of those that are
    not. `say` hears what is waited for. Raises KubeError."""
    await kube.delete(TEAM, namespace, team)
    ends = time.monotonic() + seconds
    said: tuple[str, ...] = ()
    while True:
        left = await _left(kube, namespace, team)
        if not left or time.monotonic() > ends:
            return left
        if left != said:
            say(f"waiting for {', '.join(left)}")
            said = left
        await asyncio.sleep(_LOOK)


async def _left(kube: Kube, namespace: str, team: str) -> tuple[str, ...]:
    left = []
    try:
        await kube.get(TEAM, namespace, team)
        left.append(f"agentteam/{team}")
    except NotFound:
        pass  # as it should be
    after = ""
    while True:
        agents, after, _ = await kube.page(AGENT, namespace, after=after)
        for one in agents:
            owners = one["metadata"].get("ownerReferences") or ()
            if any((owner["kind"], owner["name"]) == (TEAM.name, team) for owner in owners):
                left.append(f"agent/{one['metadata']['name']}")
        if not after:
            return tuple(left)


async def _main(team: str, seconds: float) -> int:
    access = find_access()
    async with Wire(access) as wire:
        left = await remove_team(
            Kube(wire), access.namespace, team, seconds=seconds, say=lambda text: _say(text)
        )
    if left:
        _say(
            f"still there after {seconds:g} s: {', '.join(left)}. Does the operator run? "
            "`helm uninstall --no-hooks` goes on all the same and leaves them behind"
        )
    return 1 if left else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Exit code 0 when all is gone, else 1."""
    parser = argparse.ArgumentParser(
        "parley_operator.leaving", description="Delete a team, and wait for its Agents."
    )
    parser.add_argument("team")
    parser.add_argument("--seconds", type=float, default=240.0, help="how long to wait (240)")
    told = parser.parse_args()
    try:
        sys.exit(asyncio.run(_main(told.team, told.seconds)))
    except ParleyError as error:
        _say(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
