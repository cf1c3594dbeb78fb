"""The planner as an A2A agent."""

import json
from typing import Protocol

from parley_agents.artifacts import PLAN, SKILL_PLAN, Plan
from parley_agents.engines import choose
from parley_agents.planner.rules import RulesPlanner
from parley_agents.role import Answer, RoleExecutor, Work, data_part
from parley_agents.settings import AgentSettings
from parley_runtime.steps import step


class Engine(Protocol):
    """A way of planning."""

    async def plan(self, work: Work) -> Plan:
        """The plan for a request. Raises Rejected when this engine cannot reach the goal."""


ENGINES: dict[str, type[Engine]] = {"rules": RulesPlanner}


class Planner(RoleExecutor):
    """Skill plan-change: a goal and a repository in, a plan out."""

    skill = SKILL_PLAN

    def __init__(self, settings: AgentSettings | None = None) -> None:
        super().__init__(settings)
        self._engine = choose(self.settings.engine, ENGINES, "planner")()

    async def work(self, work: Work) -> Answer:
        """Plan, once however often the execution is started again."""

        async def plan() -> str:
            return (await self._engine.plan(work)).model_dump_json()

        made = Plan.model_validate(json.loads(await step("plan", plan)))
        said = "\n".join([made.summary, *(f"- {note}" for note in made.notes)])
        return Answer("plan", "plan", [data_part(made, PLAN)], said)
