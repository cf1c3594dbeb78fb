"""The tester as an A2A agent."""

import json
from collections.abc import Awaitable, Callable
from typing import Protocol

from parley_agents.artifacts import JUNIT, SKILL_TEST, TESTS, TestReport
from parley_agents.engines import choose
from parley_agents.role import Answer, RoleExecutor, Work, data_part
from parley_agents.settings import AgentSettings
from parley_agents.tester.rules import Once, SuiteTester, Tested
from parley_runtime.steps import step


class Engine(Protocol):
    """A way of testing."""

    async def test(self, work: Work, once: Once) -> Tested:
        """The judgement of `work.change` against `work.base`."""


ENGINES: dict[str, type[Engine]] = {"rules": SuiteTester}


class Tester(RoleExecutor):
    """Skill run-tests: base and change in, JUnit XML and a report out."""

    skill = SKILL_TEST

    def __init__(self, settings: AgentSettings | None = None) -> None:
        super().__init__(settings)
        self._engine = choose(self.settings.engine, ENGINES, "tester")()

    async def work(self, work: Work) -> Answer:
        """Test; each run of a suite once however often the execution is started again."""

        async def once(name: str, fn: Callable[[], Awaitable[str]]) -> str:
            return await step(name, fn)

        async def test() -> list[str]:
            done = await self._engine.test(work, once)
            return [done.report.model_dump_json(), done.junit]

        text, junit = await step("test", test)
        report = TestReport.model_validate(json.loads(text))
        parts = [data_part(report, TESTS)]
        if junit:
            parts.insert(0, await work.exchange.part(junit.encode(), JUNIT, "junit.xml"))
        return Answer("tests", "tests", parts, f"{report.verdict}: {report.summary}")
