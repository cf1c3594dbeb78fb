"""Files that hold secrets."""

from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write it so that only this user can read it, at no time another."""
    path.touch(mode=0o600)
    path.write_text(text)
