"""The coder as an A2A agent."""

import base64
from typing import Any, Protocol

from a2a.types.a2a_pb2 import Part

from parley_agents.artifacts import CHANGE, DIFF, SKILL_EDIT, Change
from parley_agents.coder.rules import Made, RulesCoder
from parley_agents.engines import choose
from parley_agents.role import Answer, RoleExecutor, Work, data_part
from parley_agents.settings import AgentSettings
from parley_runtime.steps import step


class Engine(Protocol):
    """A way of editing."""

    async def edit(self, work: Work) -> Made:
        """The change a step asks for. Raises Rejected when this engine cannot do the step."""


ENGINES: dict[str, type[Engine]] = {"rules": RulesCoder}


class Coder(RoleExecutor):
    """Skill edit-code: a step and a snapshot in, a change (bundle, diff, summary) out."""

    skill = SKILL_EDIT

    def __init__(self, settings: AgentSettings | None = None) -> None:
        super().__init__(settings)
        self._engine = choose(self.settings.engine, ENGINES, "coder")()

    async def work(self, work: Work) -> Answer:
        """Edit, once however often the execution is started again."""

        async def edit() -> dict[str, Any]:
            made = await self._engine.edit(work)
            bundle, diff = (base64.b64encode(data).decode() for data in (made.bundle, made.diff))
            return {"change": made.change.model_dump(mode="json"), "bundle": bundle, "diff": diff}

        kept = await step("edit", edit)
        change = Change.model_validate(kept["change"])
        parts: list[Part] = []
        if kept["bundle"]:
            parts.append(await work.exchange.bundle_part(change.commit, base64.b64decode(kept["bundle"])))
            parts.append(await work.exchange.part(base64.b64decode(kept["diff"]), DIFF, "change.patch"))
        parts.append(data_part(change, CHANGE))
        return Answer("change", "change", parts, f"{change.title}: {change.summary}")
