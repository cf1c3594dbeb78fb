"""mypy on a project that configures it, in the sandbox: its settings may name plugins, which are code."""

import asyncio
import json
import sys
from pathlib import Path

from parley_agents.project import Project
from parley_agents.sandbox import Bind, Limits, Sandbox
from parley_agents.sarif import Result
from parley_agents.settings import AgentSettings
from parley_agents.workspace import scratch_copy
from parley_core.errors import ConfigurationError, ParleyError

SECONDS = 180.0
_INSIDE = Path("/repo")
_UNINSTALLED = ("import-not-found", "import-untyped", "import")
"""The project's dependencies are not there when types are checked: that they are missing says nothing."""


class TypeCheck:
    """mypy with the project's own settings. `notes` say why it could not be had."""

    def __init__(self, project: Project, settings: AgentSettings) -> None:
        self._project = project
        self._settings = settings
        self.notes: list[str] = []

    async def run(self) -> list[Result]:
        """All type errors of the project as it is on disk now; [] when it does not configure mypy."""
        if not self._project.mypy:
            return []
        try:
            sandbox = await Sandbox.choose(self._settings.sandbox)
        except ConfigurationError as error:
            self.notes.append(f"mypy was not run: {error}")
            return []
        command = [
            sys.executable, "-m", "mypy", "--output=json", "--no-error-summary", "--cache-dir=/tmp/mypy-cache",
            "--no-site-packages", "--no-pretty", *self._targets(),
        ]  # fmt: skip
        try:
            async with scratch_copy(self._project.root) as copy:
                done = await sandbox.run(
                    command,
                    binds=[Bind(copy, _INSIDE, writable=True), Bind(Path(sys.prefix))],
                    cwd=copy if sandbox.kind == "none" else _INSIDE,
                    limits=Limits(seconds=SECONDS, cpu_seconds=SECONDS, output=16 * 1024 * 1024),
                )
        except ParleyError as error:
            self.notes.append(f"mypy was not run: {error}")
            return []
        if done.exceeded or done.result.returncode not in (0, 1):
            reason = done.exceeded or " ".join((done.result.errors or done.result.text).split())[-300:]
            self.notes.append(f"mypy did not finish ({reason}); types were not reviewed")
            return []
        return await asyncio.to_thread(self._read, done.result.text)

    def _targets(self) -> list[str]:
        """Nothing when the settings say what to check, else the packages in the repository."""
        tool = self._project.pyproject.get("tool", {}).get("mypy", {})
        configured = self._project.setup_cfg.get("mypy", {})
        if any(key in source for source in (tool, configured) for key in ("files", "packages", "modules")):
            return []
        for name in ("mypy.ini", ".mypy.ini"):
            path = self._project.root / name
            if path.is_file() and "files" in path.read_text("utf-8", "replace"):
                return []
        if (self._project.root / "src").is_dir():
            return ["src"]
        packages = sorted(p.parent.name for p in self._project.root.glob("*/__init__.py"))
        return [name for name in packages if name not in ("tests", "test", "docs")] or ["."]

    def _read(self, output: str) -> list[Result]:
        results, lines = [], dict[str, list[str]]()
        for row in output.splitlines():
            try:
                found = json.loads(row)
            except ValueError:
                continue
            if found.get("severity") != "error" or found.get("code") in _UNINSTALLED:
                continue
            path, line = str(found["file"]), max(0, int(found["line"]))
            if path not in lines:
                place = self._project.root / path
                lines[path] = place.read_text("utf-8", "replace").splitlines() if place.is_file() else []
            text = lines[path][line - 1] if 0 < line <= len(lines[path]) else ""
            rule = f"mypy/{found.get('code') or 'misc'}"
            results.append(
                Result(
                    rule,
                    "error",
                    str(found["message"]),
                    path,
                    line,
                    max(1, int(found["column"]) + 1),
                    text=" ".join(text.split()),
                )
            )
        return results
