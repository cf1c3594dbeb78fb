"""The reviewer as an A2A agent."""

from typing import Any, Protocol

from a2a.types.a2a_pb2 import Part
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from parley_agents.artifacts import SARIF, SKILL_REVIEW
from parley_agents.engines import choose
from parley_agents.reviewer.rules import Review, RulesReviewer
from parley_agents.role import Answer, RoleExecutor, Work
from parley_agents.sarif import document
from parley_agents.settings import AgentSettings
from parley_runtime.steps import step


class Engine(Protocol):
    """A way of reviewing."""

    async def review(self, work: Work) -> Review:
        """The review of `work.change` against `work.base`."""


ENGINES: dict[str, type[Engine]] = {"rules": RulesReviewer}


class Reviewer(RoleExecutor):
    """Skill review-change: base and change in, SARIF with a verdict out."""

    skill = SKILL_REVIEW

    def __init__(self, settings: AgentSettings | None = None) -> None:
        super().__init__(settings)
        self._engine = choose(self.settings.engine, ENGINES, "reviewer")()

    async def work(self, work: Work) -> Answer:
        """Review, once however often the execution is started again."""

        async def review() -> dict[str, Any]:
            done = await self._engine.review(work)
            sarif = document(done.results, done.verdict, tools=done.tools, notes=done.notes)
            return {"sarif": sarif, "verdict": done.verdict.model_dump(mode="json")}

        kept = await step("review", review)
        verdict = kept["verdict"]
        part = Part(data=ParseDict(kept["sarif"], Value()), media_type=SARIF, filename="review.sarif")
        return Answer("review", "review", [part], f"{verdict['verdict']}: {verdict['summary']}")
