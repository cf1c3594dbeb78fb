"""The files a job leaves: the right ones, only where they belong, and usable with git."""

import subprocess
from pathlib import Path

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from parley_agents.artifacts import DIFF, GIT_BUNDLE, MARKDOWN, PLAN
from parley_agents.bundles import Exchange
from parley_agents.snapshot import snapshot
from parley_agents.workspace import open_workspace
from parley_cli import jobs, results

EXCHANGE = Exchange()


def artifact(name: str, **part: object) -> pb.Artifact:
    return pb.Artifact(artifact_id=name, name=name, parts=[pb.Part(**part)])  # type: ignore[arg-type]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


async def test_only_known_files_are_taken_and_childrens_are_not() -> None:
    child = artifact("k/report.md", text="child", media_type=MARKDOWN)
    child.metadata["parley.dev/delegation"] = {"step": "x"}
    task = pb.Task(
        artifacts=[
            child,
            artifact("report.md", text="own", media_type=MARKDOWN),
            artifact("../../etc/passwd", text="x", media_type="text/plain", filename="../../etc/passwd"),
            artifact("evil", text="diff", media_type=DIFF, filename="../change.patch"),
        ]
    )
    contents, commit = await results.collect(task, EXCHANGE)
    assert contents == {"report.md": b"own", "change.patch": b"diff"}
    assert commit == ""


async def test_a_plan_sent_as_data_becomes_json() -> None:
    part = ParseDict({"data": {"steps": [{"round": 1}]}, "mediaType": PLAN}, pb.Part())
    contents, _ = await results.collect(
        pb.Task(artifacts=[pb.Artifact(artifact_id="p", parts=[part])]), EXCHANGE
    )
    assert b'"round": 1\n' in contents["plan.json"]


async def test_a_file_beyond_the_limit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_FILE", 10)
    task = pb.Task(artifacts=[artifact("report.md", text="x" * 11, media_type=MARKDOWN)])
    assert (await results.collect(task, EXCHANGE))[0] == {}


@pytest.mark.parametrize("task", ["../../up", "/etc", "a/b", ".hidden", "..", "", "x" * 300, "né"])
def test_the_folder_of_a_job_is_inside_out_whatever_its_id(tmp_path: Path, task: str) -> None:
    folder = results.folder_for(tmp_path, task)
    assert folder.parent == tmp_path
    assert folder.resolve().parent == tmp_path.resolve()
    assert not folder.name.startswith(".")


def test_the_folder_has_a_short_name_where_that_is_free(tmp_path: Path) -> None:
    task = "3f2a9c1e-1111-2222-3333-444455556666"
    assert results.folder_for(tmp_path, task).name == "3f2a9c1e"
    (tmp_path / "3f2a9c1e").mkdir()
    assert results.folder_for(tmp_path, task).name == task


def test_files_appear_together_and_are_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "job"
    results.write(folder, {"report.md": b"1", "change.patch": b"p"})
    files = results.write(folder, {"report.md": b"2"})
    assert files == {"report.md": folder / "report.md"}
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"report.md": b"2", "change.patch": b"p"}
    assert [p.name for p in folder.parent.iterdir()] == ["job"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(results.ResultError, match="--out"):
        results.write(tmp_path / "out" / "job", {"report.md": b""})


async def test_patch_and_bundle_apply_to_the_repository_they_came_from(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    (repo / "a.py").write_text("import os\nx = 1\n")
    (repo / "b.txt").write_text("one\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "first")
    (repo / "b.txt").write_text("one\nnot committed yet\n")
    taken = await snapshot(repo)
    async with open_workspace(taken.commit, [taken.bundle]) as workspace:
        (workspace.path / "a.py").write_text("x = 1\n")
        commit = await workspace.record("Unused imports\n")
        patch = await workspace.diff(taken.commit, commit)
        bundle = await workspace.bundle(commit, taken.commit)
    task = pb.Task(
        artifacts=[
            artifact("change.patch", text=patch, media_type=DIFF),
            artifact("change.bundle", raw=bundle, media_type=GIT_BUNDLE, filename=f"{commit}.bundle"),
        ]
    )
    contents, made = await results.collect(task, EXCHANGE)
    assert made == commit
    job = jobs.Remembered("t", "c", "orchestrator", "", 0.0, str(repo), taken.head, taken.commit, taken.dirty)
    assert await results.onto_head(contents, made, job, taken.bundle) == []
    files = results.write(tmp_path / "out" / "t", contents)

    git(repo, "fetch", "-q", str(files["change.bundle"]), "parley")
    assert "Unused imports" in git(repo, "log", "--format=%s", "HEAD..FETCH_HEAD")
    assert git(repo, "merge-base", "HEAD", "FETCH_HEAD") == git(repo, "rev-parse", "HEAD")
    git(repo, "apply", str(files["change.patch"]))
    assert (repo / "a.py").read_text() == "x = 1\n"
    assert "not committed yet" in (repo / "b.txt").read_text()
