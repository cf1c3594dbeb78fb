"""Temporary folders that do not pile up: each carries the id of its process, and those of processes that were
killed are removed by the next one that starts."""

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_NAME = re.compile(r"^parley-[a-z]+-(?P<pid>\d+)-")


def make(kind: str, parent: Path | None = None) -> Path:
    """A new folder for this process alone. `kind` is a word that says what for."""
    return Path(tempfile.mkdtemp(prefix=f"parley-{kind}-{os.getpid()}-", dir=parent))


def sweep(parent: Path | None = None) -> int:
    """Remove what processes of this user that are gone have left behind; how many folders that were."""
    gone = 0
    for entry in os.scandir(parent or tempfile.gettempdir()):
        name = _NAME.match(entry.name)
        if name and entry.is_dir(follow_symlinks=False) and not _alive(int(name["pid"])):
            with suppress(FileNotFoundError):  # another one was faster
                if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    shutil.rmtree(entry.path, ignore_errors=True)
                    gone += 1
    return gone


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
