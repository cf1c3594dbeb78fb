"""What a confined command sees of this machine: programs and libraries, an /etc of ours, nothing personal."""

import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_NOBODY = 65534
_ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "mime.types", "services",
    "protocols", "alternatives", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "ca-certificates",
)  # fmt: skip
_ETC_MADE = {
    "passwd": "root:x:0:0::/nonexistent:/bin/sh\nsandbox:x:1000:1000::/tmp/home:/bin/sh\n",
    "group": "root:x:0:\nsandbox:x:1000:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "",
}


@dataclass(frozen=True, slots=True)
class View:
    binds: list[tuple[str, str, bool]] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)


@cache
def system_view() -> View:
    """Programs and libraries of this machine, without anything personal."""
    view = View()
    view.binds.append(("/usr", "/usr", False))
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            view.links[f"/{name}"] = os.readlink(path)
        elif path.is_dir():
            view.binds.append((str(path), str(path), False))
    if Path("/nix/store").is_dir():
        view.binds.append(("/nix/store", "/nix/store", False))
    prefix = os.path.realpath(sys.base_prefix)
    if not any(prefix == top or prefix.startswith(top + "/") for top, _, _ in view.binds):
        view.binds.append((prefix, prefix, False))
    return view


def make_etc(place: Path) -> Path:
    place.mkdir()
    place.chmod(0o755)
    for name in _ETC:
        source = Path("/etc") / name
        with suppress(OSError, shutil.Error):  # what is missing or not ours to read stays out
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place / name, symlinks=True)
            elif source.exists():
                shutil.copy(source, place / name)
    for name, text in _ETC_MADE.items():
        (place / name).write_text(text)
    return place


def spare_id() -> int:
    """For root: an id other than root's to run as, if this machine maps one; else 0."""
    if os.geteuid() != 0:
        return 0
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, length = (int(number) for number in line.split())
        if first <= _NOBODY < first + length:
            return _NOBODY
    return 0


def hand_over(path: Path, owner: int) -> None:
    for top, folders, files in os.walk(path):
        os.lchown(top, owner, owner)
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                os.lchown(os.path.join(top, name), owner, owner)
    if not path.is_dir():
        os.lchown(path, owner, owner)
