"""Prompts from end to end: a registry process, host processes with an executor that uses a prompt, and what its tasks get."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.ports import free_port
from parley_registry.client import AgentVersion, PromptKey, Registry, RegistryClient, connect
from parley_registry.prompts.check import check_prompt

EXAMPLE = Path(__file__).parents[2] / "examples" / "prompted"
KEY = PromptKey("public", "review")

pytestmark = pytest.mark.timeout(180)


@contextmanager
def process(url: str, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of Parley's, once it is ready at `url`; killed in the end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PARLEY_")}
    made = subprocess.Popen([sys.executable, "-m", *words], cwd=EXAMPLE, env=environment)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                if httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert made.poll() is None, f"{words[0]} ended before it was ready"
            assert time.monotonic() < deadline, f"{url} was not ready within 90 s"
            time.sleep(0.1)
        yield made
    finally:
        made.kill()
        made.wait(15)


@contextmanager
def host(folder: Path, registry: str, version: str) -> Iterator[str]:
    """The URL of a host of the example in that version."""
    port = free_port()
    store = f"sqlite:///{folder}/{version}.db"
    words = ("parley_cli.main", "host", "prompted:Prompted", "--card", "card.json", "--version", version)
    place = ("--listen", f"127.0.0.1:{port}", "--store", store, "--registry", registry)
    with process(f"http://127.0.0.1:{port}", *words, *place):
        yield f"http://127.0.0.1:{port}"


async def ask(url: str) -> tuple[str, Any]:
    """What the agent answers now, and the prompts that its task names."""
    message = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": "Go"}]}
    async with httpx.AsyncClient(trust_env=False, timeout=30, headers={"A2A-Version": "1.0"}) as http:
        response = await http.post(f"{url}/a2a/rest/message:send", json={"message": message})
        task = response.raise_for_status().json()["task"]
        stored = (await http.get(f"{url}/a2a/rest/tasks/{task['id']}")).raise_for_status().json()
    assert task["metadata"]["parley.dev/prompts"] == stored["metadata"]["parley.dev/prompts"]
    return task["artifacts"][0]["parts"][0]["text"], task["metadata"]["parley.dev/prompts"]


async def answered_within(url: str, wanted: str, seconds: float) -> float:
    """Ask until the answer is `wanted`; the seconds until that question was put."""
    began = time.monotonic()
    while True:
        asked = time.monotonic() - began
        text, _ = await ask(url)
        if text == wanted:
            return asked
        assert asked < seconds, f"asked after {asked:.2f} s, the answer was still {text!r}"


async def push(client: Registry, version: str, text: str, *labels: str) -> None:
    told = {"namespace": client.namespace, "name": "review", "version": version, "template": text}
    await client.prompts.push(check_prompt(told, now=time.time())[0], labels)


@pytest.fixture
async def running(
    tmp_path: Path,
) -> AsyncIterator[tuple["subprocess.Popen[bytes]", RegistryClient, str, str]]:
    """A registry process, its client, and the URLs of two hosts of one agent, version 1.9.0 and version 2.0.0."""
    with ExitStack() as all_of_them:
        url = f"http://127.0.0.1:{free_port()}"
        words = (
            "parley_registry",
            "--listen",
            url.removeprefix("http://"),
            "--store",
            f"sqlite:///{tmp_path}/r.db",
        )
        registry = all_of_them.enter_context(process(url, *words))
        old = all_of_them.enter_context(host(tmp_path, url, "1.9.0"))
        new = all_of_them.enter_context(host(tmp_path, url, "2.0.0"))
        async with RegistryClient(url) as client:
            yield registry, client, old, new


async def test_the_next_task_uses_what_the_registry_says_now_without_a_restart(
    running: tuple["subprocess.Popen[bytes]", RegistryClient, str, str],
) -> None:
    registry, client, old, new = running
    assert await ask(old) == ("Review this Go code.", {"review": "default"})

    await push(client, "1.2.0", "As a reviewer of {{language}}, say what is wrong.", "production")
    await answered_within(old, "As a reviewer of Go, say what is wrong.", 1.0)
    assert (await ask(new))[1] == {"review": "1.2.0"}

    await push(client, "1.3.0", "Find faults in {{language}}.")
    await client.prompts.bind(KEY, AgentVersion("prompted", "2.0.0"), "1.3.0")
    await answered_within(new, "Find faults in Go.", 1.0)
    assert (await ask(new))[1] == {"review": "1.3.0"}
    assert (await ask(old))[1] == {"review": "1.2.0"}

    await push(client, "1.4.0", "{{language}}: what is wrong?", "production")
    await answered_within(old, "Go: what is wrong?", 1.0)
    assert (await ask(new))[1] == {"review": "1.3.0"}

    registry.kill()
    for _ in range(5):
        assert await ask(old) == ("Go: what is wrong?", {"review": "1.4.0"})
        assert await ask(new) == ("Find faults in Go.", {"review": "1.3.0"})


@pytest.mark.cluster
async def test_a_host_on_nacos_alone_gets_a_new_version_as_quickly(tmp_path: Path, nacos_url: str) -> None:
    registry = connect(nacos_url)
    key = PromptKey(registry.namespace, "review")
    with host(tmp_path, nacos_url, "1.9.0") as old, host(tmp_path, nacos_url, "2.0.0") as new:
        await push(registry, "1.2.0", "As a reviewer of {{language}}.", "production")
        await answered_within(
            old, "As a reviewer of Go.", 10.0
        )  # the first push of a connection takes its time
        await answered_within(new, "As a reviewer of Go.", 10.0)

        await push(registry, "1.3.0", "Find faults in {{language}}.", "production")
        assert await answered_within(old, "Find faults in Go.", 1.0) <= 1.0

        await push(registry, "1.4.0", "{{language}}?")
        await registry.prompts.bind(key, AgentVersion("prompted", "2.0.0"), "1.4.0")
        await answered_within(new, "Go?", 1.0)
        assert await ask(old) == ("Find faults in Go.", {"review": "1.3.0"})
    await registry.aclose()
