"""Prepared environments to run a repository's tests in: a virtual environment for each set of requirements.

Code of others never runs with network. Outside of the sandbox uv only downloads and unpacks wheels, by name and
into a fresh environment whose interpreter is not started again. The repository itself is then installed in the
sandbox, without network, as an editable install of /repo, where each copy to be tested is shown. Files which that
makes in the repository (a version file, built extensions) are kept and laid over every copy.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from uv import find_uv_bin

from parley_agents.process import in_thread, minimal_environment, run
from parley_agents.project import Project
from parley_agents.sandbox import Bind, Limits, Sandbox
from parley_agents.settings import AgentSettings
from parley_agents.tester.requirements import Needs, is_buildable, needs
from parley_agents.workspace import export
from parley_core.errors import ParleyError

REPO = Path("/repo")
FORMAT = "1"
KEPT_SECONDS = 30 * 24 * 3600.0
"""An environment not used for so long is removed when another one is made."""
_OVERLAY_LIMIT = 64 * 1024 * 1024
_CONFIG = ("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "pytest.ini", "PKG-INFO")
_PASSED = (
    "UV_",
    "PIP_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT",
    "REQUESTS_CA_BUNDLE",
)
_INSTALL_LIMITS = Limits(seconds=180.0, cpu_seconds=360.0, memory=3 * 1024**3)


class EnvironmentFailed(ParleyError):
    """The test environment could not be prepared; the message says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A prepared environment. `python` is its interpreter; `notes` say what was left out."""

    key: str
    path: Path
    notes: tuple[str, ...] = ()

    @property
    def venv(self) -> Path:
        return self.path / "venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin/python"

    def lay_over(self, copy: Path) -> None:
        """Add the files that installing made to a copy of the repository."""
        overlay = self.path / "overlay"
        if overlay.is_dir():
            for source in sorted(overlay.rglob("*")):
                place = copy / source.relative_to(overlay)
                if source.is_dir():
                    place.mkdir(exist_ok=True)
                elif not place.exists():
                    shutil.copy2(source, place)

    def variables(self, root: Path) -> dict[str, str]:
        """The process environment for running with it, the repository being at `root`."""
        found = {
            "PATH": f"{self.venv}/bin:/usr/local/bin:/usr/bin:/bin",
            "VIRTUAL_ENV": str(self.venv),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONUTF8": "1",
            "TZ": "UTC",
            "COLUMNS": "80",
        }
        if root != REPO:
            found["PYTHONPATH"] = f"{root}/src:{root}"
        return found


async def prepare(
    project: Project, tests: Sequence[str], runner: str, sandbox: Sandbox, settings: AgentSettings
) -> Environment:
    """The environment for a repository, from the cache or made now; others who want the same one wait.

    Raises EnvironmentFailed.
    """
    wanted = await asyncio.to_thread(needs, project, tests, runner)
    key = await asyncio.to_thread(_key, project.root, wanted, sandbox.kind)
    place = (settings.home / "envs").absolute()
    await asyncio.to_thread(place.mkdir, parents=True, exist_ok=True)
    path = place / key
    async with _only_one(place / f"{key}.lock", settings.install_timeout * 2):
        ready = path / "ready.json"
        if not ready.is_file():
            await asyncio.to_thread(shutil.rmtree, path, True)
            notes = await _make(path, project.root, wanted, sandbox, settings)
            await asyncio.to_thread(ready.write_text, json.dumps(notes))
            await asyncio.to_thread(_prune, place)
        await asyncio.to_thread(os.utime, ready)
        return Environment(key, path, tuple(json.loads(await asyncio.to_thread(ready.read_text))))


def _prune(place: Path) -> None:
    """Remove environments that nobody has used for long."""
    oldest = time.time() - KEPT_SECONDS
    for ready in place.glob("*/ready.json"):
        with suppress(FileNotFoundError):
            if ready.stat().st_mtime < oldest:
                ready.unlink()
                shutil.rmtree(ready.parent, ignore_errors=True)


async def _make(
    path: Path, root: Path, wanted: Needs, sandbox: Sandbox, settings: AgentSettings
) -> list[str]:
    deadline = time.monotonic() + settings.install_timeout
    notes = (
        [f"not installed from the repository's files: {', '.join(wanted.skipped)}"] if wanted.skipped else []
    )
    tiers = (
        [*wanted.runtime, *wanted.build, *wanted.tests, *wanted.extra],
        [*wanted.runtime, *wanted.build, *wanted.tests],
        [*wanted.runtime, *wanted.build, *wanted.tests[:1]],
    )
    reason = ""
    for number, requirements in enumerate(tiers):
        reason = await _install(path, requirements, deadline)
        if not reason:
            break
        notes.append(
            f"left out {'the development' if number == 0 else 'the declared test'} requirements: {reason}"
        )
    if reason:
        raise EnvironmentFailed(f"the test dependencies cannot be installed: {reason}")
    environment = Environment("", path)
    if sandbox.kind != "none":
        notes += await _install_project(environment, root, sandbox)
    return notes


async def _install(path: Path, requirements: Sequence[str], deadline: float) -> str:
    """A fresh virtual environment with these wheels; why it failed, or "" when it did not."""
    await asyncio.to_thread(shutil.rmtree, path, True)
    await asyncio.to_thread(path.mkdir, parents=True)
    # As the confined user may be another one, it must be able to look inside.
    await asyncio.to_thread(path.chmod, 0o755)
    uv, venv = find_uv_bin(), str(path / "venv")
    listed = "\n".join(dict.fromkeys(requirements)) + "\n"
    commands = (
        ([uv, "venv", "--quiet", "--no-project", "--python", _interpreter(), venv], b""),
        ([uv, "pip", "install", "--quiet", "--python", f"{venv}/bin/python", "--only-binary", ":all:",
          "--link-mode=copy", "--requirements", "-"], listed.encode()),
    )  # fmt: skip
    for command, stdin in commands[: 2 if requirements else 1]:
        left = deadline - time.monotonic()
        if left <= 0:
            return "it took too long"
        done = await run(command, cwd=path, env=_uv_environment(), stdin=stdin, timeout=left)
        if done.timed_out:
            return "it took too long"
        if done.returncode:
            return " ".join(done.errors.replace("╰─▶", "").replace("×", "").split())[-600:]
    return ""


def _interpreter() -> str:
    """The Python that runs us, outside of any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _uv_environment() -> dict[str, str]:
    """uv needs to know the package index and its cache, nothing else of ours."""
    passed = {k: v for k, v in os.environ.items() if k.upper().startswith(_PASSED)}
    if "PIP_INDEX_URL" in passed:
        passed.setdefault("UV_DEFAULT_INDEX", passed["PIP_INDEX_URL"])
    if "PIP_CERT" in passed:
        passed.setdefault("SSL_CERT_FILE", passed["PIP_CERT"])
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        if name in os.environ:
            passed[name] = os.environ[name]
    return minimal_environment(**passed)


async def _install_project(environment: Environment, root: Path, sandbox: Sandbox) -> list[str]:
    """Install the repository itself, without network; if it cannot be, its folders are simply importable."""
    copy = environment.path / "copy"
    await in_thread(export, root, copy)
    before = await asyncio.to_thread(_listing, copy)
    uv = Path(find_uv_bin())
    notes: list[str] = []
    try:
        if is_buildable(root):
            done = await sandbox.run(
                [str(uv), "pip", "install", "--quiet", "--offline", "--no-cache", "--no-deps", "--no-build-isolation",
                 "--no-config", "--link-mode=copy", "--python", str(environment.python), "--editable", str(REPO)],
                binds=[Bind(copy, REPO, writable=True), Bind(environment.venv, writable=True), Bind(uv)],
                cwd=REPO,
                env=environment.variables(REPO) | _pretended_version(root),
                limits=_INSTALL_LIMITS,
            )  # fmt: skip
            if done.result.returncode == 0:
                await asyncio.to_thread(_keep_made, copy, before, environment.path / "overlay")
                return notes
            reason = done.exceeded or " ".join(done.result.errors.split())[-400:]
            notes.append(f"the project itself could not be installed, so it is only importable: {reason}")
        await asyncio.to_thread(_make_importable, environment.venv)
        return notes
    finally:
        await asyncio.to_thread(shutil.rmtree, copy, True)


def _make_importable(venv: Path) -> None:
    for site in venv.glob("lib/python*/site-packages"):
        (site / "parley-repository.pth").write_text(f"{REPO}/src\n{REPO}\n")


def _pretended_version(root: Path) -> dict[str, str]:
    """For build backends that take the version from git's tags, which a snapshot does not have."""
    info = root / "PKG-INFO"
    text = info.read_text("utf-8", "replace") if info.is_file() else ""
    version = HeaderParser().parsestr(text).get("Version", "0.0.0")
    names = (
        "SETUPTOOLS_SCM_PRETEND_VERSION",
        "PBR_VERSION",
        "POETRY_DYNAMIC_VERSIONING_BYPASS",
        "PDM_BUILD_SCM_VERSION",
    )
    return dict.fromkeys(names, str(version))


def _listing(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def _keep_made(copy: Path, before: set[str], overlay: Path) -> None:
    size = 0
    for name in sorted(_listing(copy) - before):
        path = copy / name
        if path.is_symlink() or "__pycache__" in name or name.startswith(("build/", ".eggs/")):
            continue
        size += path.stat().st_size
        if size > _OVERLAY_LIMIT:
            return
        (overlay / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, overlay / name)


def _key(root: Path, wanted: Needs, sandbox: str) -> str:
    digest = hashlib.sha256(f"{FORMAT} {sys.version} {platform.machine()} {sandbox} {wanted}".encode())
    for name in _CONFIG:
        path = root / name
        with suppress(OSError):
            digest.update(f"\0{name}\0".encode() + (path.read_bytes() if not path.is_symlink() else b""))
    return digest.hexdigest()[:32]


@asynccontextmanager
async def _only_one(path: Path, seconds: float) -> AsyncIterator[None]:
    """Hold a lock file among all processes of this machine. Raises EnvironmentFailed after `seconds`."""
    deadline = time.monotonic() + seconds
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EnvironmentFailed(
                        "another test run has been preparing the same environment for too long"
                    ) from None
                await asyncio.sleep(0.2)
        yield
