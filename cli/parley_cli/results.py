"""What a job leaves on disk: six files with fixed names in a folder of its own.

Their content comes from agents and is not trusted: it is bounded in size, never executed, and never decides
where it is written.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from a2a.types import a2a_pb2 as pb

from parley_agents.artifacts import DIFF, GIT_BUNDLE, JUNIT, MARKDOWN, PLAN, SARIF
from parley_agents.bundles import Exchange, data_of
from parley_agents.git import GitError
from parley_agents.orchestrator.relay import DELEGATION
from parley_agents.snapshot import Snapshot, graft
from parley_cli.home import write_atomically
from parley_cli.jobs import Remembered, file_name
from parley_core.errors import ParleyError

FILES: Mapping[str, str] = {
    DIFF: "change.patch",
    GIT_BUNDLE: "change.bundle",
    MARKDOWN: "report.md",
    SARIF: "review.sarif",
    JUNIT: "junit.xml",
    PLAN: "plan.json",
}
"""The file that a part of each media type becomes."""

MAX_FILE = 64 * 1024 * 1024
"""Bytes of any one file but the bundle, which is as large as the repository's exchange allows."""


class ResultError(ParleyError):
    """The result of a job could not be written."""


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a result by name, and what is to be said about them."""

    folder: Path
    files: Mapping[str, Path]
    notes: tuple[str, ...] = ()


def folder_for(out: Path, task: str) -> Path:
    """The folder of a job under `out`: named by the first part of its id where that is free."""
    name = file_name(task)
    short = name.split("-")[0]
    return out / (short if len(short) >= 8 and not (out / short).exists() else name)


async def collect(task: pb.Task, exchange: Exchange) -> tuple[dict[str, bytes], str]:
    """The contents of the result files in a task's own artifacts (children's are left out), and the commit
    of the change ("" when there is none). Parts that are too large or cannot be had are left out.

    Raises BlobError, UrlRefused or Unavailable when a part that is a URL cannot be fetched.
    """
    found: dict[str, bytes] = {}
    commit = ""
    for artifact in task.artifacts:
        if DELEGATION in artifact.metadata:
            continue
        for part in artifact.parts:
            name = _file_for(artifact, part)
            if not name or name in found:
                continue
            content = await _content(part, exchange)
            if name == "change.bundle":
                commit = part.filename.removesuffix(".bundle")
            elif len(content) > MAX_FILE:
                continue
            found[name] = content
    return found, commit


def _file_for(artifact: pb.Artifact, part: pb.Part) -> str:
    """By name where it has one of ours, else by media type."""
    named = next((n for n in (part.filename, artifact.name) if n in FILES.values()), "")
    return named or FILES.get(part.media_type, "")


async def _content(part: pb.Part, exchange: Exchange) -> bytes:
    data = data_of(part)
    if data is not None:
        return json.dumps(data, indent=2, ensure_ascii=False).encode()
    return await exchange.bytes_of(part)


async def onto_head(contents: dict[str, bytes], commit: str, job: Remembered, snapshot: bytes) -> list[str]:
    """Put the change in `contents` on top of the repository's own HEAD, so that its owner can fetch it.

    Returns what to tell about it. The bundle is left as it came when that is not possible.
    """
    bundle = contents["change.bundle"]
    if not job.repo or not snapshot:
        return ["change.bundle is based on the snapshot, which is no longer at hand here"]
    base = Snapshot(job.snapshot, snapshot, job.head, job.dirty)
    try:
        contents["change.bundle"] = await graft(Path(job.repo), base, commit, [snapshot, bundle])
    except GitError as error:
        return [f"change.bundle is based on the snapshot, not on your HEAD: {error}"]
    return []


def write(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    """Write the files; a reader sees the folder with all of them, or not at all when it is new.

    Raises ResultError when the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            for name, content in contents.items():
                write_atomically(folder / name, content)
        else:
            draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                for name, content in contents.items():
                    (draft / name).write_bytes(content)
                draft.chmod(0o755)
                draft.rename(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise ResultError(
            f"cannot write {folder}: {error.strerror}; choose another folder with --out"
        ) from error
    return {name: folder / name for name in contents}
