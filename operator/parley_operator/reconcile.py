"""One Agent, or one team, from what is observed to what is done."""

import time
from collections.abc import Callable

from parley_operator.apply import Applier
from parley_operator.caches import Caches, Work
from parley_operator.decision import Plan
from parley_operator.degraded import Problem
from parley_operator.kube.kinds import AGENT, TEAM
from parley_operator.observe import Observer
from parley_operator.observed import Observed
from parley_operator.team import ObservedTeam, plan_team


class Agents:
    """Looks at Agents."""

    def __init__(
        self, caches: Caches, observer: Observer, plan: Callable[[Observed], Plan], applier: Applier
    ) -> None:
        self._caches = caches
        self._observer = observer
        self._plan = plan
        self._applier = applier

    async def reconcile(self, work: Work) -> tuple[Problem | None, float | None]:
        """See `loop.Reconciler`."""
        observed = await self._observer.observe(work.key)
        if observed is None:
            self._applier.forget(work.key)
            return None, None
        plan = self._plan(observed)
        return await self._applier.carry_out(observed, plan), plan.again

    async def tell(self, work: Work, problem: Problem) -> None:
        """See `loop.Reconciler`."""
        agent = self._caches.agents.get(work.key)
        if agent is not None:
            await self._applier.set_status(AGENT, agent, None, problem, time.time())


class Teams:
    """Looks at AgentTeams: the Agents that they are of, the other looks at."""

    def __init__(self, caches: Caches, applier: Applier) -> None:
        self._caches = caches
        self._applier = applier

    async def reconcile(self, work: Work) -> tuple[Problem | None, float | None]:
        """See `loop.Reconciler`."""
        team = self._caches.teams.get(work.key)
        if team is None:
            return None, None
        agents = {
            one["metadata"]["name"]: one
            for one in self._caches.agents_of(work.key)
            if any(
                owner["uid"] == team["metadata"]["uid"]
                for owner in one["metadata"].get("ownerReferences") or ()
            )
        }
        now = time.time()
        plan = plan_team(ObservedTeam(now, team, agents))
        return await self._applier.carry_out_team(team, plan, now), plan.again

    async def tell(self, work: Work, problem: Problem) -> None:
        """See `loop.Reconciler`."""
        team = self._caches.teams.get(work.key)
        if team is not None:
            await self._applier.set_status(TEAM, team, None, problem, time.time())
