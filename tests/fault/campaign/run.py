"""One campaign: a cluster, clients, faults by plan, rest, and the check. See ../README.md for how to run it."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from campaign.checker import Violation, check
from campaign.cluster import Cluster
from campaign.history import History
from campaign.load import Client
from campaign.look import look
from campaign.plan import Fault, plan
from campaign.profiles import PROFILES
from campaign.receiver import Receiver
from campaign.seen import Seen
from engines.ports import free_port

REST = 120.0
"""Seconds after the last fault within which all must be over (a killed sender keeps a push for 30)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a campaign went. `text` says what is wrong and what happened, and is "" when all is well."""

    text: str
    faults: int
    tasks: int
    seconds: float


async def campaign(
    home: Path,
    profile: str,
    seed: int,
    *,
    seconds: float,
    faults: int,
    clients: int = 5,
    only: tuple[str, ...] = (),
) -> Outcome:
    """Run one. The same arguments do the same faults at the same times (what runs beside them differs)."""
    history = History(home / "history.jsonl")
    seen = Seen()
    receiver = Receiver(history, seed, free_port())
    await receiver.start()
    made: Callable[[Path, History], AbstractAsyncContextManager[Cluster]] = PROFILES[profile]
    try:
        async with made(home, history) as cluster:
            planned = plan(
                seed,
                seconds,
                faults,
                replicas=cluster.names,
                links=tuple(cluster.links),
                servers=tuple(cluster.servers),
                only=only,
            )
            await cluster.start()
            history.restart()
            history.note("campaign", "begins", profile=profile, seed=seed, faults=faults)
            problems = await _act(cluster, planned, seconds, seed, clients, seen, receiver)
            await _rest(cluster, seen, receiver, problems)
    finally:
        await receiver.close()
        history.close()
    return Outcome(_told(problems, history, planned, profile, seed), faults, len(seen.orders), history.now)


async def _act(
    cluster: Cluster,
    planned: list[Fault],
    seconds: float,
    seed: int,
    clients: int,
    seen: Seen,
    receiver: Receiver,
) -> list[Violation]:
    """Load and faults together; what did not come to an end."""
    history = cluster.history
    stop = asyncio.Event()
    people = [
        asyncio.create_task(Client(n, seed, cluster.fronts, history, seen, receiver.url).run(stop))
        for n in range(clients)
    ]
    try:
        async with asyncio.TaskGroup() as group:
            for fault in planned:
                await asyncio.sleep(max(0.0, fault.at - history.now))
                group.create_task(cluster.suffer(fault))
            await asyncio.sleep(max(0.0, seconds - history.now))
        history.note("campaign", "heals")
        problem = await cluster.all_ready(REST)
        stop.set()
        _, unfinished = await asyncio.wait(people, timeout=REST)
        problems: list[Violation] = [("", problem)] if problem else []
        problems += [("", f"an exchange was not over {REST:.0f} s after the last fault")] * len(unfinished)
        for person in people:
            if person.done() and (error := person.exception()) is not None:
                raise error
        return problems
    finally:
        for person in people:
            person.cancel()
        await asyncio.gather(*people, return_exceptions=True)


async def _rest(cluster: Cluster, seen: Seen, receiver: Receiver, problems: list[Violation]) -> None:
    """Wait until nothing is left to do or time is up, and add what is wrong then."""
    deadline = cluster.history.now + REST
    while True:
        stored = await look(cluster.store, "fault")
        found = check(seen, stored, cluster.effects, receiver.arrived)
        if not found or cluster.history.now > deadline:
            problems += found
            return
        await asyncio.sleep(2)


def _told(problems: list[Violation], history: History, planned: list[Fault], profile: str, seed: int) -> str:
    if not problems:
        return ""
    wrong = "\n".join(f"  {task[:8] or '-':<8} {what}" for task, what in problems[:40])
    faults = "\n".join(f"  {fault}" for fault in planned)
    tasks = {task for task, _ in problems if task}
    return (
        f"{len(problems)} violations; profile {profile}, seed {seed}\n{wrong}\nfaults planned:\n{faults}\n"
        f"history of these tasks (all of it: {history.path}):\n{history.of(list(tasks)[:5])}"
    )


def main() -> None:
    """Run campaigns from the command line; exits with 1 at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--campaigns", type=int, default=1, help="how many, with the seeds that follow")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load and faults")
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--only", default="", help="kinds of faults, with commas between; all when not given")
    parser.add_argument("--home", type=Path, help="where logs and history are kept; a new temporary folder")
    given = parser.parse_args()
    for seed in range(given.seed, given.seed + given.campaigns):
        home = given.home or Path(tempfile.mkdtemp(prefix=f"campaign-{seed}-"))
        home.mkdir(parents=True, exist_ok=True)
        outcome = asyncio.run(
            campaign(
                home,
                given.profile,
                seed,
                seconds=given.seconds,
                faults=given.faults,
                clients=given.clients,
                only=tuple(filter(None, given.only.split(","))),
            )
        )
        print(
            f"seed {seed}: {outcome.faults} faults, {outcome.tasks} tasks, {outcome.seconds:.0f} s; logs in {home}"
        )
        if outcome.text:
            print(outcome.text)
            sys.exit(1)


if __name__ == "__main__":
    main()
