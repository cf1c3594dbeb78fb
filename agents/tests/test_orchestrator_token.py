"""What the orchestrator shows to the agents that it delegates to."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from orchestrator_kit import (
    Scene,
    a_scene,
    append_own_file,
    codes,
    plan_of,
    plans,
    reviews,
    runs_tests,
    sample,
)
from starlette.responses import Response

from parley_agents.artifacts import SKILL_EDIT, SKILL_PLAN, SKILL_REVIEW, SKILL_TEST
from parley_registry.client import RegistryClient


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with a_scene() as scene:
        yield scene


def asks_for(token: str, shown: list[str]) -> Any:
    """An agent that lets nobody in without a token, and notes what it was shown."""

    def wrap(app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["method"] == "POST":
                given = dict(scope["headers"]).get(b"authorization", b"").decode()
                shown.append(given)
                if given != f"Bearer {token}":
                    return await Response(status_code=401)(scope, receive, send)
            await app(scope, receive, send)

        return wrapped

    return wrap


async def test_agents_that_published_themselves_are_shown_the_token_in_the_file(
    scene: Scene, tmp_path: Path
) -> None:
    shown: list[str] = []
    scene.settings["agent_token_file"] = tmp_path / "token"
    (tmp_path / "token").write_text("ours\n")
    wrap = asks_for("ours", shown)
    await scene.add("planner", SKILL_PLAN, plans(plan_of(("a", []))), wrap=wrap)
    await scene.add("coder", SKILL_EDIT, codes(append_own_file), wrap=wrap)
    await scene.add("reviewer", SKILL_REVIEW, reviews(lambda request, files: ""), wrap=wrap)
    await scene.add("tester", SKILL_TEST, runs_tests(lambda request, files: ""), wrap=wrap)
    client = await scene.orchestrator()

    seen = await client.run(await sample(tmp_path))

    assert seen.state == "COMPLETED", seen.text
    assert set(shown) == {"Bearer ours"}


async def test_an_agent_that_is_known_by_its_url_alone_is_not_shown_it(scene: Scene, tmp_path: Path) -> None:
    shown: list[str] = []
    scene.settings["agent_token_file"] = tmp_path / "token"
    (tmp_path / "token").write_text("ours\n")
    client = await scene.orchestrator()
    url, scene.registry_url = scene.registry_url, ""  # what is added from here on does not publish itself
    await scene.add("planner", SKILL_PLAN, plans(plan_of(("a", []))), wrap=asks_for("", shown))
    async with RegistryClient(url) as registry:
        await registry.register_url(scene.cards[-1].supported_interfaces[0].url.removesuffix("/a2a/jsonrpc"))

    seen = await client.run(await sample(tmp_path))

    assert seen.state == "FAILED"
    assert "asks for credentials" in seen.text
    assert set(shown) == {""}
