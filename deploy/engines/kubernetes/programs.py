"""The programs of a Kubernetes cluster, compiled once on a machine from the Go modules that deploy/kubernetes-engine names."""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engines.errors import EngineError
from engines.java import cache

HOME = Path(__file__).parents[2] / "kubernetes-engine"
NAMES = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"),
    *("kubelet", "kube-proxy", "coredns", "kubectl", "helm"),
)
_BINARY = HOME.name


@dataclass(frozen=True, slots=True)
class Programs:
    """They are one file and a link to it by each program's name, and `pause`, which is for an image."""

    folder: Path
    """Good for a PATH."""

    def path(self, name: str) -> str:
        """Of one of NAMES."""
        return str(self.folder / name)


def programs() -> Programs:
    """All of them. The first time on a machine they are compiled (2 cores: six minutes), by one process while the others wait;
    a folder is good for one text of go.mod, go.sum and the sources. Raises EngineError."""
    texts = [path.read_bytes() for path in (HOME / "go.mod", HOME / "go.sum", *sorted(HOME.rglob("*.go")))]
    key = hashlib.sha256(b"".join([*texts, platform.machine().encode()])).hexdigest()[:12]
    folder = cache() / f"kubernetes-{key}"
    if not folder.exists():
        with (cache() / "kubernetes.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _build(folder)
    return Programs(folder)


def version() -> str:
    """Of Kubernetes: `1.36.3`."""
    found = re.search(r"^\tk8s\.io/kubernetes v(\S+)", (HOME / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise EngineError(f"{HOME / 'go.mod'} does not say which Kubernetes it needs")
    return found[1]


def _go() -> str:
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not found:
        raise EngineError(
            "Kubernetes is compiled here: install Go 1.21 or newer (go.dev/dl; it fetches the version it needs itself), "
            "or set KUBECONFIG to the cluster that the tests may use"
        )
    return found


def _build(folder: Path) -> None:
    go, since = _go(), time.monotonic()
    sys.stderr.write(f"compiling Kubernetes {version()} (once; six minutes on two idle cores)\n")
    half = folder.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    # Without GOGC and -dwarf=false it is the same program, a fifth slower to compile.
    command = [
        *(go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false"),
        *("-ldflags", _ldflags(), "-o", f"{half}/", ".", "./pause"),
    ]
    ran = subprocess.run(
        command,
        cwd=HOME,
        env={**os.environ, "CGO_ENABLED": "0", "GOGC": "400"},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    if ran.returncode != 0:
        raise EngineError(f"Kubernetes does not compile:\n{ran.stderr.strip()[-2000:]}")
    for name in NAMES:
        (half / name).symlink_to(_BINARY)
    half.rename(folder)
    sys.stderr.write(f"compiled in {time.monotonic() - since:.0f} s\n")


def _ldflags() -> str:
    """What Kubernetes and its clients say of themselves is written into them when they are linked."""
    major, minor, _ = version().split(".")
    said = {
        "gitVersion": f"v{version()}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        ["-s -w", *(f"-X {package}.{name}={value}" for package in packages for name, value in said.items())]
    )
