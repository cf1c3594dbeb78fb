"""First process of a machine within this one: see Machine, which runs this file under unshare(1) in namespaces of its own."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

READY = "the namespaces are ready"

# A kubelet sets these for the whole machine; here it reads and writes files of its own, which say what it wants already.
_KERNEL = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# Where programs of a node write whatever they are told.
_FIXED = ("/run", "/var/log", "/var/lib/kubelet", "/var/lib/cni")


def prepare() -> None:
    """Folders and kernel settings of its own, a loopback that is up, packets forwarded between pods."""
    for folder in _FIXED:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    for name, value in _KERNEL.items():
        own = Path("/run/kernel", name)
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(f"{value}\n")
        _run("mount", "--bind", str(own), f"/proc/sys/{name}")
    _run("ip", "link", "set", "lo", "up")
    # No way out: whatever is not of the cluster is refused at once.
    _run("ip", "route", "add", "unreachable", "default")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def reap_for_ever() -> None:
    """What the first process of a machine does: bury the orphans."""
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        signal.pause()


def _reap(*_: Any) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


if __name__ == "__main__":
    prepare()
    os.write(1, READY.encode())
    reap_for_ever()
