"""How a job ended, in words: the verdict, and what to do with the result."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from parley_cli.events import JobEnded


def verdict(ended: JobEnded) -> str:
    """`verified`, `nothing to change` or `NOT verified (state)`."""
    if not ended.verified:
        return f"NOT verified ({ended.state})"
    return "verified" if ended.changed else "nothing to change"


def said(ended: JobEnded) -> str:
    """What the job says of its end; "" when that is only the verdict again."""
    return "" if ended.summary == verdict(ended) else ended.summary


def commands(ended: JobEnded) -> Iterator[tuple[str, str]]:
    """What to type to take the change over, each with what it is for. Nothing without a change."""
    place = Path(ended.out_dir)
    patch = place / "change.patch"
    there = "change.patch" in ended.files and patch.exists() and patch.stat().st_size > 0
    if not there or not ended.changed or ended.state == "canceled":
        return
    folder = shlex.quote(shown(ended.out_dir))
    yield "apply it", f"git apply {folder}/change.patch"
    if "change.bundle" in ended.files and not ended.notes:
        yield "or commits", f"git fetch {folder}/change.bundle parley && git merge FETCH_HEAD"


def shown(path: str) -> str:
    """A path as one would type it here."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
