"""Images without a build: what is in their containers is this machine's own, mounted by the container runtime."""

import hashlib
import io
import json
import os
import shlex
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
_FOLDERS = ("usr", "etc", "tmp", "proc", "sys", "dev")
_LINKS = ("bin", "lib", "lib64", "sbin")


def contents() -> list[str]:
    """What containers have of this machine, at the same paths and read-only: its programs, this interpreter and its environment, the repository."""
    wanted = ["/usr", sys.base_prefix, sys.prefix, str(REPOSITORY)]
    distinct = sorted({os.path.realpath(path) for path in wanted})
    return [path for path in distinct if not any(path.startswith(f"{other}/") for other in distinct)]


def write_image(path: Path, names: Sequence[str], program: Path | None = None) -> None:
    """A file for `ctr images import`, good for all these names: an image that runs the (static) program, or one that is empty."""
    layer = _layer(program)
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [f"PATH={sys.prefix}/bin:/usr/local/bin:/usr/bin:/usr/sbin"],
            "Cmd": [f"/{program.name}"] if program else [],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "image.json", "RepoTags": list(names), "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        for name, data in {
            "image.json": json.dumps(image).encode(),
            "layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def with_contents(specification: dict[str, Any]) -> dict[str, Any]:
    """The container runtime's own default specification of a container, with contents() in it. They are mounted after all else: a volume
    at /tmp does not hide a repository that lies there."""
    lines = ["set -e"]
    for path in contents():
        inside = shlex.quote(f".{path}")
        lines += [
            f"mkdir -p {inside}",
            f"mount --rbind {shlex.quote(path)} {inside}",
            f"mount -o remount,bind,ro {inside}",
        ]
    # It runs in the new container's root folder, seen from outside.
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", "\n".join(lines)],
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    }
    return {**specification, "hooks": {"createContainer": [hook]}}


def _layer(program: Path | None) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for folder in _FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        for link in _LINKS:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            archive.addfile(entry)
        if program:
            archive.add(program, program.name)
    return data.getvalue()
