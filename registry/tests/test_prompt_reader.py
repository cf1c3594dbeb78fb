"""What executors get prompts from: fresh within a second, and there while the registry is not."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from registry_service import RegistryProcess, RegistryThread

from engines.ports import free_port
from parley_registry.client import (
    AgentVersion,
    PromptKey,
    Prompts,
    RegistryClient,
    RegistryUnavailable,
    UnknownPrompt,
)
from parley_registry.prompts.check import check_prompt

KEY = PromptKey("public", "review")


async def push(client: RegistryClient, version: str, text: str, *labels: str, **more: Any) -> None:
    told = {"name": "review", "version": version, "template": text, **more}
    await client.prompts.push(check_prompt(told, now=time.time())[0], labels)


async def text_within(prompts: Prompts, wanted: str, seconds: float, **more: Any) -> float:
    """Ask until the prompt's template is as wanted; the seconds that took."""
    began = time.monotonic()
    while (found := (await prompts.get("review", **more)).template) != wanted:
        assert time.monotonic() - began < seconds, f"after {seconds} s it is still {found!r}"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_new_version_is_live_within_a_second_of_its_label(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client, Prompts(client) as prompts:
        await push(client, "1.0.0", "one {{x}}", "production")
        assert (await prompts.get("review")).render(x="?") == "one ?"
        await push(client, "1.1.0", "two {{x}}")
        await client.prompts.label(KEY, "production", "1.1.0")
        assert await text_within(prompts, "two {{x}}", 1.0) < 1.0
        await client.prompts.label(KEY, "production", "1.0.0")
        await text_within(prompts, "one {{x}}", 1.0)


async def test_an_agent_version_that_is_bound_gets_its_own_and_others_go_by_the_label(
    registry: RegistryThread,
) -> None:
    async with RegistryClient(registry.url) as client:
        await push(client, "1.2.0", "stable", "production")
        await push(client, "1.3.0", "canary")
        async with (
            Prompts(client, agent="coder", agent_version="1.9.0") as old,
            Prompts(client, agent="coder", agent_version="2.0.0") as new,
        ):
            assert (await new.get("review")).template == (await old.get("review")).template == "stable"
            await client.prompts.bind(KEY, AgentVersion("coder", "2.0.0"), "1.3.0")
            await text_within(new, "canary", 1.0)
            assert (await old.get("review")).template == "stable"
            await client.prompts.unbind(KEY, AgentVersion("coder", "2.0.0"))
            await text_within(new, "stable", 1.0)


async def test_it_is_answered_from_memory(registry: RegistryThread, caplog: pytest.LogCaptureFixture) -> None:
    async with RegistryClient(registry.url) as client, Prompts(client) as prompts:
        await push(client, "1.0.0", "one", "production")
        await prompts.get("review")
        with caplog.at_level(logging.INFO, "httpx"):
            for _ in range(1000):
                assert (await prompts.get("review")).template == "one"
            assert not [one for one in caplog.records if one.name == "httpx"]


async def test_the_last_known_is_answered_while_the_registry_is_away_which_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "r.db"
    with RegistryProcess(store) as first:
        async with RegistryClient(first.url) as client, Prompts(client) as prompts:
            await push(client, "1.0.0", "one", "production")
            await push(client, "1.1.0", "two")
            assert (await prompts.get("review")).template == "one"
            with caplog.at_level(logging.INFO):
                first.kill()
                began = time.monotonic()
                while time.monotonic() - began < 2.0:
                    assert (await prompts.get("review")).template == "one"
                    await asyncio.sleep(0.05)
                with RegistryProcess(store, port=first.port):
                    await client.prompts.label(KEY, "production", "1.1.0")
                    await text_within(prompts, "two", 20.0)
            ours = [record for record in caplog.records if record.name.startswith("parley_registry")]
            said = [record.message for record in ours if "prompts" in record.message]
            assert len([one for one in said if "stay as they were known last" in one]) == 1
            assert said[-1] == "prompts are fresh again"


async def test_a_default_serves_until_the_registry_is_reached(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with RegistryClient(f"http://127.0.0.1:{port}") as client, Prompts(client) as prompts:
        began = time.monotonic()
        for _ in range(20):
            found = await prompts.get("review", default="in code {{x}}")
            assert (found.version, found.render(x="!")) == ("", "in code !")
        assert time.monotonic() - began < 4.0
        assert len([one for one in caplog.records if "default written in the code" in one.message]) == 1
        with pytest.raises(RegistryUnavailable):
            await prompts.get("other")
        with RegistryProcess(tmp_path / "r.db", port=port):
            await push(client, "1.0.0", "kept", "production")
            await text_within(prompts, "kept", 20.0, default="in code {{x}}")


async def test_what_the_registry_does_not_have_is_the_default_or_an_error_until_it_has_it(
    registry: RegistryThread,
) -> None:
    async with RegistryClient(registry.url) as client, Prompts(client) as prompts:
        assert (await prompts.get("review", default="in code")).template == "in code"
        with pytest.raises(UnknownPrompt, match="no prompt named 'review'"):
            await prompts.get("review")
        await push(client, "1.0.0", "kept", "staging")
        await text_within(prompts, "kept", 2.0, label="staging", default="in code")
        with pytest.raises(UnknownPrompt, match="no label 'production'"):
            await prompts.get("review")
        await client.prompts.delete(KEY)
        await text_within(prompts, "in code", 1.0, label="staging", default="in code")


async def test_a_version_that_is_pushed_anew_after_a_deletion_is_told_from_the_one_before(
    registry: RegistryThread,
) -> None:
    async with RegistryClient(registry.url) as client, Prompts(client) as prompts:
        await push(client, "1.0.0", "before", "production")
        assert (await prompts.get("review")).template == "before"
        await client.prompts.delete(KEY)
        await push(client, "1.0.0", "after", "production")
        await text_within(prompts, "after", 1.0, default="")


async def test_nothing_is_watched_before_a_prompt_is_asked_for(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        many = [Prompts(client) for _ in range(300)]
        for one in many:
            one.start()
        await push(client, "1.0.0", "one", "production")
        assert (await many[0].get("review")).template == "one"
        for one in many:
            await one.aclose()
