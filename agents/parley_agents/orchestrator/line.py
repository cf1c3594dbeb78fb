"""The one line of commits that a task's changes are put on: from the client's snapshot to what is delivered."""

import asyncio
from dataclasses import dataclass

from parley_agents.artifacts import Commit
from parley_agents.git import GitError
from parley_agents.orchestrator.answers import Changed
from parley_agents.orchestrator.errors import BadAnswer
from parley_agents.orchestrator.job import Bundle
from parley_agents.workspace import Workspace

MAX_COMMITS = 200
"""Commits one change may consist of."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where the work begins: the client's snapshot, and what an earlier task of the session put on top of it."""

    snapshot: Bundle
    earlier: Bundle | None = None

    @property
    def commit(self) -> str:
        """The commit that the first steps start from."""
        return self.earlier.ref.commit if self.earlier else self.snapshot.ref.commit


class Line:
    """A workspace shared by everything that runs for the task; one git operation at a time."""

    def __init__(self, workspace: Workspace, start: Start) -> None:
        self.start = start
        self._workspace = workspace
        self._lock = asyncio.Lock()
        self._bundles: dict[tuple[str, str], Bundle] = {}

    @property
    def snapshot(self) -> str:
        """The client's snapshot."""
        return self.start.snapshot.ref.commit

    async def prepare(self) -> None:
        """Take in what an earlier task made. Raises GitError when it does not belong to the snapshot."""
        if self.start.earlier:
            await self._workspace.add_bundle(self.start.earlier.data)
            await self._descends(self.start.earlier.ref.commit, self.snapshot)

    async def take(self, changed: Changed) -> None:
        """Take in a change. Raises BadAnswer when its bundle is not what it says."""
        change = changed.change
        if change.commit == change.base:
            return
        async with self._lock:
            try:
                await self._workspace.add_bundle(changed.bundle)
                if not await self._workspace.has(change.commit):
                    raise BadAnswer(f"the bundle does not hold the change {change.commit[:12]}")
                await self._descends(change.commit, change.base)
            except GitError as error:
                raise BadAnswer(f"the bundle of the change cannot be used: {error}") from error

    async def put(self, commit: str, base: str, onto: str) -> str | None:
        """The commit that has the changes from `base` to `commit` on top of `onto`; None when they conflict."""
        if base == onto:
            return commit
        async with self._lock:
            try:
                return await self._workspace.transplant(commit, base, onto)
            except GitError:
                return None

    async def bundles(self, base: str, change: str = "") -> tuple[Commit, Commit | None, list[Bundle]]:
        """What a child needs to have `base`, and `change` on top of it: their references and all bundles."""
        found = [self.start.snapshot]
        base_ref = self.start.snapshot.ref
        if base != self.snapshot:
            found.append(await self._bundle(base, self.snapshot))
            base_ref = found[-1].ref
        change_ref = None
        if change == base:
            change_ref = base_ref
        elif change:
            found.append(await self._bundle(change, base))
            change_ref = found[-1].ref
        return base_ref, change_ref, found

    async def bundle(self, commit: str) -> bytes:
        """What leads from the snapshot to `commit`, as a git bundle."""
        return (await self._bundle(commit, self.snapshot)).data

    async def diff(self, commit: str) -> str:
        """What leads from the snapshot to `commit`, as a unified diff."""
        async with self._lock:
            return await self._workspace.diff(self.snapshot, commit)

    async def files(self, base: str, commit: str) -> frozenset[str]:
        """Paths that differ between two commits."""
        async with self._lock:
            return frozenset(one.path for one in await self._workspace.changes(base, commit))

    async def statistics(self, commit: str) -> list[tuple[str, int, int]]:
        """(path, lines added, lines removed) of what is delivered."""
        async with self._lock:
            changes = await self._workspace.changes(self.snapshot, commit)
        return [(one.path, one.added, one.removed) for one in changes]

    async def _bundle(self, commit: str, prerequisite: str) -> Bundle:
        if (commit, prerequisite) not in self._bundles:
            async with self._lock:
                data = await self._workspace.bundle(commit, prerequisite)
            self._bundles[commit, prerequisite] = Bundle(
                Commit(commit=commit, prerequisite=prerequisite), data
            )
        return self._bundles[commit, prerequisite]

    async def _descends(self, commit: str, base: str) -> None:
        count = await self._workspace.git("rev-list", "--count", commit, f"^{base}")
        shared = await self._workspace.git("merge-base", "--all", commit, base, accept=(0, 1))
        if shared.decode().split() != [base]:
            raise GitError(f"commit {commit[:12]} does not build on {base[:12]}")
        if int(count) > MAX_COMMITS:
            raise GitError(f"it has {int(count)} commits, more than the {MAX_COMMITS} allowed")
