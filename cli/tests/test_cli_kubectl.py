"""`kubectl parley rollout`: the registry is found through kubectl. What a cluster would answer is a fake's; all else is real."""

import subprocess
import sys
from pathlib import Path

import pytest
from a2a.types import AgentCard, AgentInterface
from cli_processes import environment, registry

from parley_cli.kubectl import divided
from parley_registry.client import RegistryClient

pytestmark = pytest.mark.processes

_FAKE = """#!/bin/sh
# A kubectl that knows one Agent and can forward to one Service.
printf "%s\n" "$*" >>"{folder}/asked"
case "$*" in
  *port-forward*) echo "Forwarding from {reached} -> 8420"; exec sleep 60 ;;
  *"get agents.parley.dev greeter "*) echo "{told}" ;;
  *"get agents.parley.dev new "*) ;;
  *) echo 'Error from server (NotFound): agents.parley.dev "other" not found' >&2; exit 1 ;;
esac
"""


class Plugin:
    """The plugin in a cluster whose registry is at `url`, and called there by what `told` says."""

    def __init__(self, folder: Path, url: str, told: str) -> None:
        self.folder = folder
        program = folder / "kubectl"
        reached = url.removeprefix("http://")
        program.write_text(_FAKE.format(folder=folder, reached=reached, told=told))
        program.chmod(0o755)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        path = f"{self.folder}:/usr/bin:/bin"
        return subprocess.run(
            [sys.executable, "-m", "parley_cli.kubectl", *words],
            env=environment(self.folder / "home", PATH=path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


async def published(url: str) -> None:
    async with RegistryClient(url, namespace="team-a") as client:
        for version in ("1.0.0", "1.1.0"):
            card = AgentCard(name="greeter", description="Greets.", version=version)
            card.supported_interfaces.append(
                AgentInterface(url="http://127.0.0.1:1/", protocol_binding="JSONRPC", protocol_version="1.0")
            )
            card.capabilities.SetInParent()
            card.default_input_modes.append("text/plain")
            card.default_output_modes.append("text/plain")
            card.skills.add(id="greet", name="Greet", description="Greets.", tags=["example"])
            await client.publish(card)


@pytest.mark.parametrize("within", [True, False], ids=["a Service", "an address"])
async def test_the_verbs_work_on_an_agent_of_the_cluster(tmp_path: Path, within: bool) -> None:
    with registry(tmp_path) as url:
        await published(url)
        base = "http://parley-registry.parley-system.svc.cluster.local:8420" if within else url
        plugin = Plugin(tmp_path, url, f"{base}/v1/agents/greeter?namespace=team-a")
        there = ("-n", "team-a", "--context=east")
        done = plugin.run("rollout", "set", "greeter", "1.0.0=75", "1.1.0=25", *there)
        assert done.stdout == "1.0.0 Current 75 %, 1.1.0 Ramping 25 %\n", done.stderr
        assert plugin.asked[0].startswith("-n team-a --context=east get agents.parley.dev greeter")
        if within:
            assert plugin.asked[1].startswith("--context=east -n parley-system port-forward")
        assert "(paused)" in plugin.run("rollout", "pause", "greeter", *there).stdout
        assert "paused" in plugin.run("rollout", "status", "--since", "60", "greeter", *there).stderr
        assert "(paused)" not in plugin.run("rollout", "resume", "greeter", *there).stdout
        assert "1.1.0 Draining" in plugin.run("rollout", "abort", "greeter", *there).stdout
        assert len(plugin.run("rollout", "history", "greeter", *there).stdout.splitlines()) == 4


def test_what_cannot_be_found_is_said(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path, "http://127.0.0.1:1", "")
    for words, said in (
        (("rollout", "status", "other"), "not found"),
        (("rollout", "status", "new"), "is not in a registry yet"),
        (("rollout", "spin", "greeter"), "there are status, watch"),
        (("rollout", "status", "--since", "60"), "name the Agent"),
    ):
        done = plugin.run(*words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    help_ = plugin.run("--help").stdout
    for verb in ("status", "watch", "promote", "pause", "resume", "abort", "undo", "history"):
        assert verb in help_


def test_kubectls_options_are_kubectls() -> None:
    words = ["rollout", "-n", "a", "watch", "--kubeconfig", "f", "greeter", "--json", "--namespace=b"]
    assert divided(words) == (
        ["rollout", "watch", "greeter", "--json"],
        ["-n", "a", "--kubeconfig", "f", "--namespace=b"],
    )
