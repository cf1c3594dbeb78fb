"""Snapshots: repositories as they travel between agents, as git bundles.

A *snapshot* is one commit without parents that holds exactly the tracked files of a repository as they are
on disk now: what is committed plus what is changed but not yet committed. Untracked files are left out and
named. The same files give the same commit id on every machine; history never leaves the owner's repository.
Changes are commits on top of a snapshot; `graft` puts them on the owner's real HEAD at the end.

A repository's own configuration is never read: all work happens in a git directory of ours that borrows the
repository's objects, so its hooks, filters, fsmonitor and diff drivers cannot run. Paths handled by a filter
(Git LFS) are taken as committed.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from parley_agents import scratch
from parley_agents.git import GitError, NoFolder, git
from parley_agents.workspace import Workspace, make_bundle, object_format


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository's tracked files as one commit.

    `bundle` stands alone; `head` is the commit the repository was at ("" before its first commit), `dirty`
    whether uncommitted changes are included, `untracked` the files that were left out (at most 100 named).
    """

    commit: str
    bundle: bytes
    head: str
    dirty: bool
    untracked: tuple[str, ...] = ()


@asynccontextmanager
async def _borrowed(repository: Path) -> AsyncIterator[tuple[Path, str, Path]]:
    """A git directory of ours with a repository's objects in reach; its HEAD commit ("" if none) and top folder."""
    try:
        places = await git(
            "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-path", "objects", cwd=repository
        )
    except NoFolder:
        raise
    except GitError as error:
        raise GitError(
            f"{repository} is not a git repository with a working tree ({error}): "
            "run `git init && git add -A && git commit` there first"
        ) from error
    top, objects = places.text.rstrip("\n").split("\n")
    found = await git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", cwd=repository, accept=(0, 1, 128))
    head = found.text.strip() if found.returncode == 0 else ""
    ours = scratch.make("git")
    try:
        await git("init", "--quiet", "--bare", "--template=", *object_format(head), cwd=ours)
        (ours / "objects/info").mkdir(parents=True, exist_ok=True)
        (ours / "objects/info/alternates").write_text(objects + "\n")
        yield ours, head, Path(top)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, ours, True))


async def snapshot(repository: Path) -> Snapshot:
    """Take a snapshot of the repository that holds `repository`; nothing in it is written.

    Raises GitError when it is not a git repository with a working tree, has no commit yet, or has
    unresolved merge conflicts.
    """
    async with _borrowed(repository) as (ours, head, top):
        if not head:
            raise GitError(f"{top} has no commit yet: run `git add -A && git commit` there first")
        conflicts = await git("ls-files", "--unmerged", cwd=top)
        if conflicts.stdout:
            raise GitError(f"{top} has unresolved merge conflicts: finish or abort the merge first")
        env = {"GIT_DIR": str(ours), "GIT_WORK_TREE": str(top), "GIT_INDEX_FILE": str(ours / "index")}
        await git("read-tree", head, cwd=top, env=env)
        # Files the owner has staged as new are theirs to keep; a file only on disk stays out.
        staged = await git(
            "diff", "--cached", "--name-only", "--diff-filter=A", "-z", "--no-ext-diff", head, cwd=top
        )
        added = [
            p
            for p in staged.stdout.split(b"\0")
            if p and (top / p.decode("utf-8", "surrogateescape")).exists()
        ]
        if added:
            await git("--literal-pathspecs", "add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul",
                      cwd=top, env=env, stdin=b"\0".join(added))  # fmt: skip
        await git("add", "--update", cwd=top, env=env)
        await _keep_filtered(head, top, env)
        tree = (await git("write-tree", cwd=top, env=env)).text.strip()
        dirty = tree != (await git("rev-parse", f"{head}^{{tree}}", cwd=ours)).text.strip()
        made = await git("commit-tree", tree, "-m", "Snapshot", cwd=ours)
        commit = made.text.strip()
        listing = await git("ls-files", "--others", "--exclude-standard", "-z", cwd=top, env=env)
        untracked = [p.decode("utf-8", "surrogateescape") for p in listing.stdout.split(b"\0") if p][:100]
        return Snapshot(commit, await make_bundle(ours, commit, ""), head, dirty, tuple(untracked))


async def _keep_filtered(head: str, top: Path, env: dict[str, str]) -> None:
    """Undo the update of paths that a filter (Git LFS) rewrites: without the filter they only look changed."""
    changed = (
        await git("diff", "--cached", "--name-only", "--no-renames", "-z", head, cwd=top, env=env)
    ).stdout
    answers = await git("check-attr", "--stdin", "-z", "filter", cwd=top, env=env, stdin=changed)
    fields = answers.stdout.split(b"\0")[:-1]
    filtered = [
        fields[n] for n in range(0, len(fields), 3) if fields[n + 2] not in (b"unspecified", b"unset")
    ]
    if filtered:
        await git("--literal-pathspecs", "reset", "--quiet", head, "--pathspec-from-file=-", "--pathspec-file-nul",
                  cwd=top, env=env, stdin=b"\0".join(filtered))  # fmt: skip


async def graft(repository: Path, base: Snapshot | str, commit: str, bundles: Iterable[bytes]) -> bytes:
    """The commits from a snapshot to `commit`, put on the repository's HEAD, as a bundle its owner can fetch
    (`git fetch change.bundle parley`). The repository itself is only read.

    `base` is the snapshot taken of it (or its commit id; then HEAD must not have moved). Uncommitted changes
    that the snapshot held come as a first commit of their own. `bundles` hold the snapshot and the change.

    Raises GitError when `commit` does not descend from the snapshot.
    """
    base_commit = base if isinstance(base, str) else base.commit
    async with _borrowed(repository) as (ours, head, _):
        if isinstance(base, Snapshot):
            head = base.head
        there = Workspace(ours, head)
        for bundle in bundles:
            await there.add_bundle(bundle)
        listing = await git(
            "rev-list", "--reverse", "--topo-order", "--parents", f"{base_commit}..{commit}", cwd=ours
        )
        rows = [line.split() for line in listing.text.splitlines()]
        parent = head
        if await _tree(ours, base_commit) != await _tree(ours, head):
            parent = await _copy(ours, base_commit, [head], "Changes not yet committed when Parley began\n")
        moved = {base_commit: parent}
        for old, *parents in rows:
            if not parents or any(p not in moved for p in parents):
                raise GitError(f"commit {commit[:12]} does not build on the snapshot {base_commit[:12]}")
            moved[old] = await _copy(ours, old, [moved[p] for p in parents], None)
        if commit not in moved:
            raise GitError(f"commit {commit[:12]} does not build on the snapshot {base_commit[:12]}")
        if moved[commit] == head:
            raise GitError("the change is empty: there is nothing to put on HEAD")
        return await make_bundle(ours, moved[commit], head)


async def _tree(path: Path, commit: str) -> str:
    return (await git("rev-parse", f"{commit}^{{tree}}", cwd=path)).text.strip()


async def _copy(path: Path, commit: str, parents: list[str], message: str | None) -> str:
    if message is None:
        message = (await git("log", "-1", "--format=%B", commit, cwd=path)).text.strip() + "\n"
    flags = [flag for parent in parents for flag in ("-p", parent)]
    done = await git(
        "commit-tree", await _tree(path, commit), *flags, "-F", "-", cwd=path, stdin=message.encode()
    )
    return done.text.strip()
