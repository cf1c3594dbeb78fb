"""The team on released packages as they are: fetched as sdists from the package index, none edited to fit.

Every job runs on the whole platform: its own processes, the sandbox, the package's own tests.
"""

import json
import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(900)]

PACKAGES = ("inflection==0.5.1", "isodate==0.6.1", "parse==1.20.2", "toolz==0.12.1", "humanize==4.9.0")
GOAL = "Modernise the code and fix lint"
PARLEY = [sys.executable, "-m", "parley_cli.main"]
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One platform for all packages."""
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "PARLEY_HOME": str(home)}
    subprocess.run([*PARLEY, "up"], env=environment, check=True, timeout=120)
    yield home
    subprocess.run([*PARLEY, "down"], env=environment, check=True, timeout=60)


def fetched(requirement: str, into: Path) -> Path:
    """The sdist of a release as a git repository with one commit."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*download, "--dest", str(into), requirement], check=True, timeout=300)
    [archive] = into.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    repository = into / archive.name.removesuffix(".tar.gz")
    subprocess.run([*GIT, "init", "--quiet", "--initial-branch=main"], cwd=repository, check=True)
    subprocess.run([*GIT, "add", "--all", "--force"], cwd=repository, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message=As released"], cwd=repository, check=True)
    return repository


def findings(repository: Path) -> int:
    """What the linter holds against the tree, by rules of every group the team applies."""
    rules = "E4,E7,E9,F,W,UP,SIM,C4,B,RUF"
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--exit-zero", "--output-format=json"]
    out = subprocess.run(
        [*command, f"--select={rules}", "."], cwd=repository, capture_output=True, check=True
    )
    return len(json.loads(out.stdout))


@pytest.mark.parametrize("requirement", PACKAGES)
def test_a_released_package_comes_out_better_and_whole(requirement: str, tmp_path: Path, home: Path) -> None:
    repository = fetched(requirement, tmp_path)
    before = findings(repository)
    out = tmp_path / "out"
    run = subprocess.run(
        [*PARLEY, "run", GOAL, "--repo", str(repository), "--out", str(out), "--plain"],
        env={**os.environ, "PARLEY_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=800,
    )
    [job] = out.iterdir()
    report = (job / "report.md").read_text()
    assert run.returncode == 0, f"{run.stdout[-3000:]}\n{run.stderr[-1000:]}\n{report}"
    subprocess.run([*GIT, "apply", "--check", str(job / "change.patch")], cwd=repository, check=True)
    subprocess.run([*GIT, "apply", str(job / "change.patch")], cwd=repository, check=True)
    after = findings(repository)
    suite = ElementTree.parse(job / "junit.xml").getroot()
    cases = list(suite.iter("testcase"))
    print(f"{requirement}: findings {before} -> {after}, {len(cases)} tests")
    assert after < before
    assert len(cases) > 10
    changed = subprocess.run(
        [*GIT, "diff", "--name-only"], cwd=repository, capture_output=True, text=True, check=True
    )
    for name in changed.stdout.split():
        compile((repository / name).read_bytes(), name, "exec")
