"""Scratch copies: what goes in by bundle comes out by bundle and diff, and bad bundles are refused."""

import os
from pathlib import Path

import pytest
from repositories import repository, sh, write

from parley_agents.git import GitError
from parley_agents.snapshot import Snapshot, snapshot
from parley_agents.workspace import open_workspace


@pytest.fixture
async def taken(tmp_path: Path) -> Snapshot:
    repo = repository(tmp_path / "r", {"a.py": "1\n", "b.py": "2\n", "c.py": "3\n"})
    os.symlink("/etc/passwd", repo / "link.py")
    sh("git", "add", "-A", cwd=repo)
    sh("git", "commit", "-qm", "Link", cwd=repo)
    return await snapshot(repo)


async def edited(taken: Snapshot, files: dict[str, str], message: str = "Edit\n") -> tuple[str, bytes]:
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        write(work.path, files)
        commit = await work.record(message)
        return commit, await work.bundle(commit, taken.commit)


async def test_the_same_edit_is_the_same_commit_and_travels_as_a_thin_bundle(taken: Snapshot) -> None:
    commit, bundle = await edited(taken, {"a.py": "one\n"})
    assert (commit, bundle) == await edited(taken, {"a.py": "one\n"})
    async with open_workspace(commit, [taken.bundle, bundle]) as work:
        assert (work.path / "a.py").read_text() == "one\n"
        assert [c.model_dump() for c in await work.changes(taken.commit, commit)] == [
            {"path": "a.py", "added": 1, "removed": 1}
        ]


async def test_a_plain_git_clones_and_applies_what_we_send(taken: Snapshot, tmp_path: Path) -> None:
    commit, bundle = await edited(taken, {"a.py": "one\n", "new/d.py": "4\n"})
    (tmp_path / "base.bundle").write_bytes(taken.bundle)
    (tmp_path / "change.bundle").write_bytes(bundle)
    sh("git", "clone", "-q", "-b", "parley", "base.bundle", "clone", cwd=tmp_path)
    sh("git", "pull", "-q", "--ff-only", "../change.bundle", "parley", cwd=tmp_path / "clone")
    assert sh("git", "rev-parse", "HEAD", cwd=tmp_path / "clone") == commit


async def test_nothing_changed_is_no_commit(taken: Snapshot) -> None:
    assert (await edited(taken, {"a.py": "1\n"}))[0] == taken.commit


async def test_links_are_plain_files_unless_asked_for_and_stay_links_in_commits(taken: Snapshot) -> None:
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        assert not (work.path / "link.py").is_symlink()
        assert "link.py" not in await work.files()
        write(work.path, {"a.py": "one\n"})
        commit = await work.record("Edit\n")
        assert [e.path for e in await work.entries(taken.commit, commit)] == ["a.py"]
    async with open_workspace(taken.commit, [taken.bundle], symlinks=True) as work:
        assert (work.path / "link.py").is_symlink()


async def test_changes_to_different_files_are_put_on_top_of_each_other(taken: Snapshot) -> None:
    one, first = await edited(taken, {"a.py": "one\n"}, "One\n")
    two, second = await edited(taken, {"b.py": "two\n"}, "Two\n")
    async with open_workspace(one, [taken.bundle, first, second]) as work:
        both = await work.transplant(two, taken.commit, one)
        assert (await work.read(both, "a.py"), await work.read(both, "b.py")) == (b"one\n", b"two\n")
        assert await work.git("log", "--format=%s") == b"Two\nOne\nSnapshot\n"


async def test_conflicting_changes_are_refused_and_leave_no_trace(taken: Snapshot) -> None:
    one, first = await edited(taken, {"a.py": "one\n"})
    two, second = await edited(taken, {"a.py": "two\n"})
    async with open_workspace(one, [taken.bundle, first, second]) as work:
        with pytest.raises(GitError, match="conflicts"):
            await work.transplant(two, taken.commit, one)
        assert await work.modified() == []


async def test_a_diff_applies_to_its_base_and_only_there(taken: Snapshot) -> None:
    commit, bundle = await edited(taken, {"a.py": "one\n"})
    async with open_workspace(commit, [taken.bundle, bundle]) as work:
        patch = await work.diff(taken.commit, commit)
        assert await work.applies(patch, taken.commit)
        assert not await work.applies(patch, commit)


async def test_renames_binaries_and_deletions_are_told_apart(taken: Snapshot) -> None:
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        (work.path / "a.py").rename(work.path / "moved.py")
        (work.path / "b.py").write_bytes(b"\0\1")
        (work.path / "c.py").unlink()
        commit = await work.record("Edit\n")
        entries = {e.path: (e.status, e.old_path, e.binary) for e in await work.entries(taken.commit, commit)}
        assert entries == {
            "moved.py": ("R", "a.py", False),
            "b.py": ("M", "b.py", True),
            "c.py": ("D", "c.py", False),
        }
        await work.restore(taken.commit, ["b.py", "c.py"])
        assert sorted(await work.modified()) == ["b.py", "c.py"]


async def test_damaged_incomplete_and_foreign_bundles_are_refused(taken: Snapshot) -> None:
    commit, bundle = await edited(taken, {"a.py": "one\n"})
    for bad, said in (
        (b"hello", "not a git bundle"),
        (taken.bundle[:40], "cut off"),
        (taken.bundle[:-30], "index-pack"),
        (bundle, "was not sent along"),
    ):
        with pytest.raises(GitError, match=said):
            async with open_workspace(commit, [bad]):
                pass
    with pytest.raises(GitError, match="was not sent along"):
        async with open_workspace("0" * 40, [taken.bundle]):
            pass


async def test_a_bundle_that_unpacks_to_too_much_is_refused_before_it_is_written(
    taken: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_agents.workspace.MAX_BYTES", 3)
    with pytest.raises(GitError, match="too large"):
        async with open_workspace(taken.commit, [taken.bundle]):
            pass
