"""Snapshots carry exactly the owner's tracked files, and nothing of the repository's own configuration runs."""

from pathlib import Path

import pytest
from repositories import repository, sh, write

from parley_agents.git import GitError
from parley_agents.snapshot import graft, snapshot
from parley_agents.workspace import open_workspace

FILES = {"a.py": "import os\n", "pkg/b.py": "x = 1\n", "ünï.txt": "ä\n"}


async def test_a_snapshot_has_the_tracked_files_and_no_history(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", FILES)
    taken = await snapshot(repo / "pkg")
    assert (taken.dirty, taken.untracked) == (False, ())
    assert taken.head == sh("git", "rev-parse", "HEAD", cwd=repo)
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        assert {p: (work.path / p).read_text() for p in await work.files()} == FILES
        assert await work.git("log", "--format=%P") == b"\n"


async def test_equal_files_give_the_same_commit_whatever_their_history(tmp_path: Path) -> None:
    one = await snapshot(repository(tmp_path / "one", FILES))
    other = repository(tmp_path / "two", {**FILES, "late.py": ""})
    sh("git", "rm", "-q", "late.py", cwd=other)
    sh("git", "commit", "-qm", "Second", cwd=other)
    assert (await snapshot(other)).commit == one.commit


async def test_uncommitted_changes_are_included_and_untracked_files_named(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", FILES)
    write(repo, {"a.py": "import sys\n", "new.py": "1\n", "loose.py": "2\n"})
    (repo / "ünï.txt").unlink()
    sh("git", "add", "new.py", cwd=repo)
    before = sh("git", "status", "--porcelain", cwd=repo)
    taken = await snapshot(repo)
    assert taken.dirty
    assert taken.untracked == ("loose.py",)
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        assert sorted(await work.files()) == ["a.py", "new.py", "pkg/b.py"]
        assert (work.path / "a.py").read_text() == "import sys\n"
    assert sh("git", "status", "--porcelain", cwd=repo) == before


async def test_nothing_that_a_repository_configures_is_run(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", {**FILES, ".gitattributes": "*.py filter=evil diff=evil\n"})
    trap = tmp_path / "ran"
    for key in ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv"):
        sh("git", "config", key, f"touch {trap}; cat", cwd=repo)
    for key in ("core.fsmonitor", "diff.external", "core.pager", "core.sshCommand"):
        sh("git", "config", key, f"touch {trap}", cwd=repo)
    hooks = repo / ".git/hooks"
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch {trap}\n")
        (hooks / hook).chmod(0o755)
    write(repo, {"pkg/b.py": "x = 2\n"})
    taken = await snapshot(repo)
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        (work.path / "a.py").write_text("import re\n")
        commit = await work.record("Edit\n")
        assert "+import re" in await work.diff(taken.commit, commit)
        await graft(repo, taken, commit, [taken.bundle, await work.bundle(commit, taken.commit)])
    assert not trap.exists()


async def test_files_behind_a_filter_are_taken_as_committed(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", {"big.bin": "pointer\n", ".gitattributes": "*.bin filter=lfs\n"})
    write(repo, {"big.bin": "the real content\n"})
    taken = await snapshot(repo)
    assert not taken.dirty


async def test_a_folder_without_repository_or_commit_or_with_conflicts_says_what_to_do(
    tmp_path: Path,
) -> None:
    with pytest.raises(GitError, match="git init"):
        await snapshot(tmp_path)
    sh("git", "init", "-q", cwd=tmp_path)
    with pytest.raises(GitError, match="no commit yet"):
        await snapshot(tmp_path)
    with pytest.raises(GitError, match="there is no folder"):
        await snapshot(tmp_path / "absent")


async def test_a_change_is_grafted_on_the_owners_head(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", FILES)
    taken = await snapshot(repo)
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        (work.path / "a.py").write_text("import re\n")
        commit = await work.record("Use re\n")
        bundle = await work.bundle(commit, taken.commit)
    (tmp_path / "change.bundle").write_bytes(await graft(repo, taken, commit, [taken.bundle, bundle]))
    sh("git", "fetch", "-q", str(tmp_path / "change.bundle"), "parley", cwd=repo)
    assert sh("git", "log", "--format=%s", "FETCH_HEAD", cwd=repo) == "Use re\nFirst"
    sh("git", "merge", "-q", "--ff-only", "FETCH_HEAD", cwd=repo)
    assert (repo / "a.py").read_text() == "import re\n"


async def test_grafting_keeps_uncommitted_work_as_a_commit_of_its_own(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", FILES)
    write(repo, {"pkg/b.py": "x = 2\n"})
    taken = await snapshot(repo)
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        (work.path / "a.py").write_text("import re\n")
        commit = await work.record("Use re\n")
        bundle = await work.bundle(commit, taken.commit)
    (tmp_path / "change.bundle").write_bytes(await graft(repo, taken, commit, [taken.bundle, bundle]))
    sh("git", "fetch", "-q", str(tmp_path / "change.bundle"), "parley", cwd=repo)
    subjects = sh("git", "log", "--format=%s", "FETCH_HEAD", cwd=repo).splitlines()
    assert subjects == ["Use re", "Changes not yet committed when Parley began", "First"]
