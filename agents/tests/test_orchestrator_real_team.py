"""The team as it is shipped, each agent on a durable host, and an orchestrator that is killed while they work."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from a2a.client import ClientConfig, ClientFactory
from a2a.server.agent_execution import AgentExecutor
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import Parse
from orchestrator_kit import Scene, a_scene, durable_server, message, until
from repositories import repository
from test_orchestrator_durable import Process

import parley_agents
from parley_agents.coder.executor import Coder
from parley_agents.planner.executor import Planner
from parley_agents.reviewer.executor import Reviewer
from parley_agents.settings import AgentSettings
from parley_agents.snapshot import snapshot
from parley_agents.tester import executor as tester

FILES = {
    "pyproject.toml": '[project]\nname = "sample"\nversion = "1"\nrequires-python = ">=3.10"\n',
    "sample/__init__.py": "",
    "sample/prices.py": (
        "# -*- coding: utf-8 -*-\n"
        "import os\n"
        "from typing import List, Optional\n\n\n"
        "class Price(object):\n"
        "    def total(self, items: List[int], tip: Optional[int] = None) -> str:\n"
        "        if not tip is None:\n"
        "            items = items + [tip]\n"
        '        return "{} EUR".format(sum(items))\n'
    ),
    "tests/test_prices.py": (
        "from sample.prices import Price\n\n\n"
        "def test_total():\n"
        '    assert Price().total([1, 2], 3) == "6 EUR"\n'
    ),
}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with a_scene(tmp_path / "agents") as scene:
        yield scene


async def hire(scene: Scene, tmp_path: Path) -> None:
    """Start planner, coder, reviewer and tester with their own cards."""
    settings = AgentSettings(home=tmp_path / "home")
    team: list[AgentExecutor] = [
        Planner(settings),
        Coder(settings),
        Reviewer(settings),
        tester.Tester(settings),
    ]
    for executor in team:
        name = type(executor).__name__.lower()
        about = Parse((Path(parley_agents.__file__).parent / name / "card.json").read_text(), pb.AgentCard())
        server = durable_server(executor, about, tmp_path / f"{name}.db", lambda app: app)
        scene.cards.append(await scene.stack.enter_async_context(server))
        scene.health[about.name] = "up"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(280)
async def test_a_real_job_survives_the_orchestrators_death_and_no_agent_does_anything_twice(
    scene: Scene, tmp_path: Path
) -> None:
    await hire(scene, tmp_path)
    taken = await snapshot(repository(tmp_path / "repo", FILES))
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        process = Process(tmp_path / "orchestrator.db", await scene.registry(), http)
        stack.push_async_callback(process.kill)
        await process.start()
        task_id = await process.give(message(taken, "Modernise this package and fix what the linter finds"))

        for some in (3, 6):

            async def that_many(some: int = some) -> bool:
                return len(await process.client.children(task_id)) >= some

            await until(that_many, f"{some} children have begun", 120)
            await process.kill()
            await process.start()
        seen = await process.ended(task_id, 200)

        assert (seen.state, seen.metadata["parley.dev/verified"]) == ("COMPLETED", True), seen.text
        assert "+class Price:" in seen.artifacts["change.patch"]
        steps = await process.steps(task_id)
        asked = [one["result"] for name, one in steps.items() if name.startswith("child:")]
        for about in scene.cards:
            client = ClientFactory(ClientConfig(httpx_client=http)).create(about)
            tasks = await client.list_tasks(pb.ListTasksRequest(page_size=100))
            mine = {one["taskId"] for one in asked if one["agent"] == about.name}
            assert {one.id for one in tasks.tasks} == mine, f"{about.name} was asked for more than is used"
