"""ruff as the team uses it: on a repository's own settings, told exactly which rules, nothing cached.

Parley never makes a project follow a rule that it has chosen to ignore, and applies only fixes that ruff calls
safe unless told otherwise.
"""

import asyncio
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ruff.__main__ import find_ruff_bin

from parley_agents.process import Completed, minimal_environment, run
from parley_agents.project import Project
from parley_core.errors import ParleyError

SECONDS = 120.0
OUTPUT = 64 * 1024 * 1024
_BATCH = 400


class RuffError(ParleyError):
    """ruff could not do its work; the message has its reason."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ruff found. Lines and columns count from 1; `fix` is ruff's word on it: "safe", "unsafe"
    or "" when it has none."""

    rule: str
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    url: str
    fix: str


class Ruff:
    """ruff for one project. Uses the project's settings; where ruff refuses them, only the Python version and
    line length in them, which `notes` then says."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._root = project.root
        # Without settings of its own, a project must not get those of a folder above our copy of it.
        self._isolated = project.ruff is None and not project.ruff_below
        self.notes: list[str] = []

    async def check(
        self, rules: Sequence[str], paths: Iterable[str], ignore: Sequence[str] = ()
    ) -> list[Finding]:
        """What `rules` (selectors) find in the given files. Raises RuffError."""
        chosen = await self.rules(rules, ignore)
        found: list[Finding] = []
        for done in await self._each(
            ["check", "--no-fix", "--no-fix-only", "--output-format=json"], chosen, paths
        ):
            try:
                rows = json.loads(done.stdout or b"[]")
            except ValueError as error:
                raise RuffError(f"ruff's answer cannot be read: {done.errors.strip()[:500]}") from error
            found += [self._finding(row) for row in rows]
        return found

    async def fix(
        self, rules: Sequence[str], paths: Iterable[str], ignore: Sequence[str] = (), *, unsafe: bool = False
    ) -> None:
        """Apply the fixes of `rules` to the given files. Raises RuffError."""
        options = ["--fix-only", "--unsafe-fixes" if unsafe else "--no-unsafe-fixes"]
        await self._each(["check", "--quiet", *options], await self.rules(rules, ignore), paths)

    async def format(self, paths: Iterable[str]) -> None:
        """Format the given files. Raises RuffError."""
        for batch in _batches(paths):
            await self._run(["format", "--quiet", *self._common(formatting=True)], batch)

    async def rules(self, selectors: Sequence[str], ignore: Sequence[str] = ()) -> list[str]:
        """The rules that selectors mean, without those the project ignores: --select on the command line
        would replace its ignore list."""
        return expand(selectors, [*self._project.ignored, *ignore], await known_rules())

    def _common(self, *, formatting: bool = False) -> list[str]:
        major, minor = self._project.target
        options = ["--no-cache", "--force-exclude", "--target-version", f"py{major}{minor}"]
        if self._isolated:
            options.append("--isolated")
        length = (self._project.black or {}).get("line-length")
        if formatting and isinstance(length, int) and "line-length" not in (self._project.ruff or {}):
            options += ["--line-length", str(length)]
        return options

    async def _each(self, arguments: list[str], rules: list[str], paths: Iterable[str]) -> list[Completed]:
        if not rules:
            return []
        # What a project sets for its own runs (fix, preview) must not change what is asked for here.
        options = ["--no-preview", "--select", ",".join(rules), *self._common()]
        return [await self._run([*arguments, *options], batch) for batch in _batches(paths)]

    async def _run(self, arguments: list[str], paths: Sequence[str]) -> Completed:
        done = await run(
            [find_ruff_bin(), *arguments, "--", *paths],
            cwd=self._root,
            env=minimal_environment(HOME="/nonexistent", XDG_CONFIG_HOME="/nonexistent"),
            timeout=SECONDS,
            output_limit=OUTPUT,
        )
        if done.timed_out:
            raise RuffError(f"ruff took longer than {SECONDS:.0f} s")
        if done.returncode not in (0, 1):
            reason = done.errors.strip() or f"exit {done.returncode}"
            if not self._isolated:
                self._isolated = True
                self.notes.append(
                    f"ruff refuses the project's settings, its own defaults are used ({_short(reason)})"
                )
                return await self._run([*arguments, "--isolated"], paths)
            raise RuffError(f"ruff: {_short(reason)}")
        return done

    def _finding(self, row: dict[str, Any]) -> Finding:
        start, end = row.get("location") or {}, row.get("end_location") or {}
        path = Path(row["filename"])
        fix = row.get("fix") or {}
        return Finding(
            rule=row.get("code") or "invalid-syntax",
            path=str(path.relative_to(self._root.resolve()) if path.is_absolute() else path),
            line=start.get("row", 1),
            column=start.get("column", 1),
            end_line=end.get("row", start.get("row", 1)),
            end_column=end.get("column", 1),
            message=row.get("message", ""),
            url=row.get("url") or "",
            fix=fix.get("applicability") or "",
        )


async def known_rules() -> tuple[str, ...]:
    """Codes of all stable rules of the ruff that is installed, in its order."""
    return await asyncio.to_thread(_known_rules)


@cache
def _known_rules() -> tuple[str, ...]:
    done = subprocess.run(
        [find_ruff_bin(), "rule", "--all", "--output-format", "json"],
        capture_output=True,
        check=True,
        timeout=SECONDS,
    )
    return tuple(
        row["code"] for row in json.loads(done.stdout) if "Stable" in row["status"] and not row["preview"]
    )


def expand(selected: Iterable[str], ignored: Iterable[str], known: Iterable[str]) -> list[str]:
    """The known rules that a selector of `selected` means and none of `ignored` does."""
    wanted, unwanted = tuple(selected), tuple(ignored)
    return [
        code
        for code in known
        if any(_means(one, code) for one in wanted) and not any(_means(one, code) for one in unwanted)
    ]


def _means(selector: str, code: str) -> bool:
    if selector == "ALL":
        return True
    if not code.startswith(selector):
        return False
    # "E" means E401 but neither ERA001 nor EM101; "PL" and "C" each stand for several linters.
    family = code.rstrip("0123456789")
    return selector in (family, "PL", "C") or any(letter.isdigit() for letter in selector)


def _batches(paths: Iterable[str]) -> list[list[str]]:
    listed = list(paths)
    return [listed[start : start + _BATCH] for start in range(0, len(listed), _BATCH)]


def _short(text: str) -> str:
    return " ".join(text.split())[:300]
