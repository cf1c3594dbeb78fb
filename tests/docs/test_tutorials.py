"""The manual's examples do what the manual says."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import BIN, PROJECT, follow

from engines.rocketmq import RocketMQ

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that looks like a fresh clone after `make setup`; platforms that were left in it are ended."""
    for name in (
        "Makefile",
        "pyproject.toml",
        "requirements",
        "core",
        "registry",
        "runtime",
        "agents",
        "operator",
        "cli",
    ):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / ".venv").symlink_to(PROJECT / ".venv")
    shutil.copytree(PROJECT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*.db*"))
    yield tmp_path
    for home in (
        tmp_path / ".parley",
        *tmp_path.glob(".outputs/*/.parley"),
        *tmp_path.glob(".outputs/*/*/.parley"),
    ):
        if home.exists():
            subprocess.run([BIN / "parley", "--home", home, "down"], check=True, timeout=60)


def litter(folder: Path) -> set[str]:
    """What is in a clone now that git would neither have brought nor ignores."""
    members = {"core", "registry", "runtime", "agents", "operator", "cli"}
    before = {"Makefile", "pyproject.toml", "requirements", *members}
    return {path.name for path in folder.iterdir()} - before - {".venv", "examples", ".outputs", ".parley"}


@pytest.mark.network
@pytest.mark.timeout(900)
def test_the_first_page_keeps_its_word(folder: Path) -> None:
    made = subprocess.run(["make", "--question", "setup"], cwd=PROJECT, capture_output=True, check=False)
    if made.returncode:
        pytest.skip("the environment is not what `make setup` would make, and a test must not change it")
    follow(PROJECT / "README.md", folder, seconds=800)


@pytest.mark.timeout(900)
def test_hosting_an_executor_goes_as_the_tutorial_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "tutorial-host.md", folder, seconds=800)
    assert litter(folder) == set()
    assert not list((folder / "examples").rglob("*.log"))


@pytest.mark.timeout(900)
def test_large_payloads_travel_as_their_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "payloads.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_a_quota_holds_as_the_scheduling_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "scheduling.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_cards_are_signed_as_the_trust_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "trust.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_the_registry_is_browsed_as_its_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "browsing.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_the_registry_goes_as_its_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "registry.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_agents_are_found_as_the_search_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "search.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_fronts_and_workers_go_as_the_cluster_page_says(folder: Path, postgres_dsn: str) -> None:
    follow(PROJECT / "docs" / "cluster.md", folder, seconds=800, settings={"PARLEY_STORE": postgres_dsn})
    assert litter(folder) == set()


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_they_go_over_to_rocketmq_as_the_cluster_page_says(
    folder: Path, postgres_dsn: str, rocketmq: RocketMQ
) -> None:
    follow(
        PROJECT / "docs" / "cluster.md",
        folder,
        seconds=800,
        settings={"PARLEY_STORE": postgres_dsn},
        engines={"rocketmq": {"PARLEY_QUEUE": rocketmq.url, "PARLEY_BUS": rocketmq.url}},
    )
    assert litter(folder) == set()


@pytest.mark.network
@pytest.mark.timeout(900)
def test_giving_the_team_a_job_goes_as_the_tutorial_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "tutorial-team.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_prompts_go_as_their_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "prompts.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_a_sidecar_goes_as_its_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "sidecar.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_rollouts_go_as_their_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "rollouts.md", folder, seconds=800)
    assert litter(folder) == set()


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_host_is_found_in_nacos_as_its_page_says(folder: Path, nacos_url: str) -> None:
    follow(PROJECT / "docs" / "nacos.md", folder, seconds=800, settings={"PARLEY_NACOS": nacos_url})
    assert litter(folder) == set()


@pytest.mark.timeout(900)
def test_mcp_servers_go_as_their_page_says(folder: Path) -> None:
    follow(PROJECT / "docs" / "mcp.md", folder, seconds=800)
    assert litter(folder) == set()
