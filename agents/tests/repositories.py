"""Small git repositories for tests, made by the real git."""

import subprocess
from pathlib import Path


def sh(*command: str, cwd: Path) -> str:
    """Output of a command that must succeed."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


def repository(path: Path, files: dict[str, str]) -> Path:
    """A repository with one commit of these files."""
    path.mkdir(parents=True, exist_ok=True)
    sh("git", "init", "-q", "-b", "main", cwd=path)
    sh("git", "config", "user.email", "owner@localhost", cwd=path)
    sh("git", "config", "user.name", "Owner", cwd=path)
    write(path, files)
    sh("git", "add", "-A", cwd=path)
    sh("git", "commit", "-q", "-m", "First", cwd=path)
    return path


def write(path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
