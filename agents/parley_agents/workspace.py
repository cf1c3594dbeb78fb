"""Scratch copies of a snapshot for an agent to work in: built from git bundles, gone at the end."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from parley_agents import scratch
from parley_agents.artifacts import FileChange
from parley_agents.git import GitError, git
from parley_agents.process import in_thread

MAX_FILES = 200_000
MAX_BYTES = 4 * 1024**3
"""What a snapshot may unpack to: more is refused before anything is written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A path that differs between two commits; `status` is git's letter (A, M, D, R, T)."""

    status: str
    path: str
    old_path: str
    added: int
    removed: int
    binary: bool


class Workspace:
    """A scratch copy of a snapshot. Made by `open_workspace`, which also removes it."""

    def __init__(self, path: Path, commit: str) -> None:
        self.path = path
        self.commit = commit

    async def git(self, *arguments: str, stdin: bytes = b"", accept: Sequence[int] = (0,)) -> bytes:
        """Standard output of a git command run here. Raises GitError."""
        return (await git(*arguments, cwd=self.path, stdin=stdin, accept=accept)).stdout

    async def add_bundle(self, bundle: bytes) -> None:
        """Take in the objects of a bundle (empty bytes: none). Raises GitError when it is damaged or its prerequisite is unknown."""
        if not bundle:
            return
        prerequisites, pack = _split(bundle)
        for commit in prerequisites:
            if not await self.has(commit):
                raise GitError(f"the bundle builds on {commit[:12]}, which was not sent along")
        await self.git("index-pack", "--stdin", "--fix-thin", "--strict", stdin=pack)

    async def has(self, commit: str) -> bool:
        """Whether this commit, with its files, is here."""
        found = await git("cat-file", "-e", f"{commit}^{{tree}}", cwd=self.path, accept=(0, 1, 128))
        return found.returncode == 0

    async def checkout(self, commit: str) -> None:
        """Make the files those of `commit`, dropping whatever else is there.

        Raises GitError when the commit is unknown or larger than MAX_FILES, MAX_BYTES.
        """
        if not await self.has(commit):
            raise GitError(f"commit {commit[:12]} was not sent along: add its bundle to the request")
        files = size = 0
        for line in (await self.git("ls-tree", "-r", "-l", "-z", commit)).split(b"\0"):
            if line:
                length = line.split(b"\t", 1)[0].split()[-1]
                files, size = files + 1, size + (int(length) if length.isdigit() else 0)
        if files > MAX_FILES or size > MAX_BYTES:
            raise GitError(
                f"commit {commit[:12]} unpacks to {files} files, {size} bytes: too large to work on"
            )
        await self.git("checkout", "--quiet", "--force", "--detach", commit)
        await self.git("clean", "--quiet", "-ffdx")
        self.commit = commit

    async def files(self, commit: str = "") -> list[str]:
        """Paths of the regular files in `commit` (default: the one checked out); no links, no submodules."""
        listing = await self.git("ls-tree", "-r", "-z", commit or self.commit)
        rows = [row.split(b"\t", 1) for row in listing.split(b"\0") if row]
        return [path.decode("utf-8", "surrogateescape") for mode, path in rows if mode.startswith(b"100")]

    async def read(self, commit: str, path: str) -> bytes:
        """A file's content at a commit. Raises GitError when it is not there."""
        return await self.git("cat-file", "blob", f"{commit}:{path}")

    async def restore(self, commit: str, paths: Iterable[str]) -> None:
        """Put the given paths back as they are in `commit`, in the working copy."""
        listing = b"\0".join(path.encode("utf-8", "surrogateescape") for path in paths)
        if listing:
            await self.git(
                "--literal-pathspecs",
                "checkout",
                "--quiet",
                commit,
                "--pathspec-from-file=-",
                "--pathspec-file-nul",
                stdin=listing,
            )

    async def modified(self) -> list[str]:
        """Paths whose content differs from the commit checked out (new, changed or deleted)."""
        await self.git("add", "--all")
        listing = await self.git("diff", "--cached", "--name-only", "--no-renames", "-z", self.commit)
        return [path.decode("utf-8", "surrogateescape") for path in listing.split(b"\0") if path]

    async def record(self, message: str) -> str:
        """Commit the working copy on top of the current commit; the id of the new commit, or the old one
        when nothing changed. The same content and message give the same id."""
        if await self.modified():
            tree = (await self.git("write-tree")).decode().strip()
            made = await self.git("commit-tree", tree, "-p", self.commit, "-F", "-", stdin=message.encode())
            self.commit = made.decode().strip()
            await self.git("update-ref", "--no-deref", "HEAD", self.commit)
        return self.commit

    async def bundle(self, commit: str, prerequisite: str = "") -> bytes:
        """A bundle of `commit` for one who has `prerequisite` (or nothing, when empty).

        It holds one ref, refs/heads/parley, so `git fetch FILE parley` and `git clone -b parley FILE` read it.
        Empty bytes when `commit` is the prerequisite: there is nothing to carry.
        """
        if commit == prerequisite:
            return b""
        return await make_bundle(self.path, commit, prerequisite)

    async def diff(self, base: str, commit: str) -> str:
        """git's unified diff from `base` to `commit`, binary files included; "" when they are alike."""
        done = await self.git(
            "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--binary", "--full-index", base, commit
        )
        return done.decode("utf-8", "surrogateescape")

    async def entries(self, base: str, commit: str) -> list[Entry]:
        """What differs between two commits, one entry a path, renames found."""
        options = ("--no-ext-diff", "--no-textconv", "-z", "-M", base, commit)
        raw = await self.git("diff", "--name-status", *options)
        status = [field.decode("utf-8", "surrogateescape") for field in raw.split(b"\0") if field]
        counts = await self._counts(options)
        entries = []
        fields = iter(status)
        for letter in fields:
            old = next(fields)
            path = next(fields) if letter[0] in "RC" else old
            added, removed = counts.get(path, (0, 0))
            entries.append(Entry(letter[0], path, old, max(added, 0), max(removed, 0), added < 0))
        return entries

    async def _counts(self, options: Sequence[str]) -> dict[str, tuple[int, int]]:
        raw = await self.git("diff", "--numstat", *options)
        counts = {}
        fields = iter(raw.split(b"\0"))
        for field in fields:
            if not field:
                continue
            added, removed, path = field.split(b"\t", 2)
            if not path:  # a rename: the two paths follow
                next(fields)
                path = next(fields)
            number = (-1, -1) if added == b"-" else (int(added), int(removed))
            counts[path.decode("utf-8", "surrogateescape")] = number
        return counts

    async def changes(self, base: str, commit: str) -> list[FileChange]:
        """The `files` of a Change artifact."""
        return [
            FileChange(path=e.path, added=e.added, removed=e.removed)
            for e in await self.entries(base, commit)
        ]

    async def applies(self, patch: str, base: str) -> bool:
        """Whether a unified diff applies cleanly to `base`."""
        await self.checkout(base)
        data = patch.encode("utf-8", "surrogateescape")
        if not data:
            return True
        done = await git("apply", "--check", "--index", "-", cwd=self.path, stdin=data, accept=(0, 1, 128))
        return done.returncode == 0

    async def transplant(self, commit: str, base: str, onto: str) -> str:
        """Put what changed from `base` to `commit` on top of `onto`, as one commit with `commit`'s message.

        Returns the new commit (`onto` itself when there is nothing to add); the workspace is then at it.
        Raises GitError when the two changes conflict.
        """
        await self.checkout(onto)
        patch = await self.git(
            "diff", "--no-ext-diff", "--no-textconv", "--binary", "--full-index", base, commit
        )
        if patch:
            done = await git(
                "apply", "--3way", "--index", "-", cwd=self.path, stdin=patch, accept=(0, 1, 128)
            )
            if done.returncode:
                await self.checkout(onto)
                reason = (done.errors.strip().splitlines() or ["it does not apply"])[0]
                raise GitError(f"change {commit[:12]} conflicts with {onto[:12]}: {reason}")
        message = await self.git("log", "-1", "--format=%B", commit)
        return await self.record(message.decode("utf-8", "replace").strip() + "\n")


@asynccontextmanager
async def open_workspace(
    commit: str, bundles: Iterable[bytes], *, symlinks: bool = False, parent: Path | None = None
) -> AsyncIterator[Workspace]:
    """A scratch copy of `commit`, built from bundles (each after those it depends on), gone at the end.

    Symbolic links are written as small text files unless `symlinks`: a repository can then not lead a tool
    to files outside of it. `parent` is the directory to make the copy in (default: the system's temporary one).

    Raises GitError when the bundles are damaged, incomplete or too large.
    """
    path = scratch.make("work", parent)
    try:
        await git("init", "--quiet", "--template=", *object_format(commit), cwd=path)
        await git("config", "core.symlinks", "true" if symlinks else "false", cwd=path)
        workspace = Workspace(path, commit)
        for bundle in bundles:
            await workspace.add_bundle(bundle)
        await workspace.checkout(commit)
        yield workspace
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, path, True))


def _split(bundle: bytes) -> tuple[list[str], bytes]:
    """The prerequisites and the pack of a bundle file (git's gitformat-bundle, versions 2 and 3)."""
    if not bundle.startswith((b"# v2 git bundle\n", b"# v3 git bundle\n")):
        raise GitError("this is not a git bundle: send the output of `git bundle create`")
    header, separator, pack = bundle.partition(b"\n\n")
    if not separator or not pack.startswith(b"PACK"):
        raise GitError("this git bundle is cut off or damaged")
    lines = header.decode("utf-8", "replace").splitlines()[1:]
    return [line[1:].split(" ", 1)[0] for line in lines if line.startswith("-")], pack


async def make_bundle(path: Path, commit: str, prerequisite: str = "") -> bytes:
    """`Workspace.bundle` for any git directory."""
    ref = "refs/heads/parley"
    await git("update-ref", ref, commit, cwd=path)
    wanted = [ref] if not prerequisite else [ref, f"^{prerequisite}"]
    return (await git("bundle", "create", "--quiet", "-", *wanted, cwd=path)).stdout


def object_format(commit: str) -> tuple[str, ...]:
    """What `git init` needs to be told for a repository with ids like this one."""
    return ("--object-format=sha256",) if len(commit) == 64 else ()


@asynccontextmanager
async def scratch_copy(source: Path) -> AsyncIterator[Path]:
    """A copy of a workspace's files without its git directory, gone at the end: what runs in the copy cannot
    prepare surprises for a later git command."""
    top = scratch.make("copy")
    try:
        await in_thread(export, source, top / "repo")
        yield top / "repo"
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, top, True))


def export(source: Path, target: Path) -> None:
    """Copy a workspace's files without its git directory."""
    shutil.copytree(
        source, target, symlinks=True, ignore=lambda at, _: [".git"] if Path(at) == source else []
    )
