"""The inner half of the sandbox: a program of its own, run as `python -I -S confine.py MODE SPEC`.

MODE `namespaces` makes user, mount, PID, network, IPC and UTS namespaces, builds a root directory that holds
only what SPEC lists, becomes the init process of it, and runs the command there. MODE `limits` runs inside a
sandbox made by bubblewrap and only sets the limits. Needs nothing but the standard library, and no privilege
where user namespaces are allowed.

SPEC is JSON: argv, cwd, env, limits {name: value}, nice; for `namespaces` also root (an empty directory),
binds [[source, target, writable]], links {target: text}, tmpfs {target: bytes}, network, uid (an outer id to
run as when we are root, 0 otherwise).
"""

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

FAILED = 125
"""Exit code when the sandbox itself could not be made; the reason follows MARK on standard error."""
MARK = "parley-sandbox: "

INNER_ID = 1000

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = (
    1024,
    2048,
    4096,
    16384,
    1 << 18,
    1 << 21,
)
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
_KEPT_FLAGS = {
    "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME, "relatime": MS_RELATIME, "ro": MS_RDONLY,
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    try:
        _call(
            "mount",
            source.encode(),
            target.encode(),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        )
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({source} on {target})") from None


def _enter_namespaces(outer: int, *, network: bool) -> None:
    """New namespaces with all capabilities in them. Root is mapped along with the id the command will have,
    so that limits on processes, from which the real root is exempt, apply to it."""
    uid, gid = os.geteuid(), os.getegid()
    flags = NEWUSER | NEWNS | NEWPID | NEWIPC | NEWUTS | (0 if network else NEWNET)
    if not outer:
        _call("unshare", flags)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{INNER_ID} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{INNER_ID} {gid} 1")
        return
    ours, theirs = socket.socketpair()
    helper = os.fork()
    if helper == 0:  # two ids at once can only be mapped from outside
        try:
            theirs.recv(1)
            for kind, own in (("uid_map", uid), ("gid_map", gid)):
                Path(f"/proc/{os.getppid()}/{kind}").write_text(f"0 {own} 1\n{INNER_ID} {outer} 1\n")
        except OSError:
            os._exit(1)
        os._exit(0)
    _call("unshare", flags)
    ours.send(b"1")
    if os.waitpid(helper, 0)[1] != 0:
        raise OSError("the ids of this user cannot be mapped")
    ours.close()
    theirs.close()


def _read_only(top: str) -> None:
    """Make everything mounted at or under `top` read-only, keeping the flags that must not be cleared."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        place = fields[4].encode().decode("unicode_escape")
        if place == top or place.startswith(top + "/"):
            kept = sum(_KEPT_FLAGS.get(option, 0) for option in fields[5].split(","))
            _mount("none", place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def _build_root(spec: dict[str, Any]) -> None:
    root: str = spec["root"]
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=755")
    for target, size in sorted(spec["tmpfs"].items()):
        os.makedirs(root + target, exist_ok=True)
        _mount("tmpfs", root + target, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},mode=1777")
    for target, text in spec["links"].items():
        os.makedirs(os.path.dirname(root + target), exist_ok=True)
        os.symlink(text, root + target)
    for source, target, writable in spec["binds"]:
        place = root + target
        if os.path.isdir(source):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            Path(place).touch()
        _mount(source, place, None, MS_BIND | MS_REC)
        if not writable:
            _read_only(place)
    _devices(root)
    os.makedirs(root + "/proc")
    # Refused where the container masks parts of /proc: then the command sees none at all.
    with suppress(PermissionError):
        _mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        with suppress(OSError):
            Path(root + "/proc/sys/user/max_user_namespaces").write_text("0")
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", MNT_DETACH)
    os.chdir("/")
    _mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _devices(root: str) -> None:
    os.makedirs(root + "/dev/pts")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        Path(f"{root}/dev/{name}").touch()
        _mount(f"/dev/{name}", f"{root}/dev/{name}", None, MS_BIND)
    for name, text in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(text, f"{root}/dev/{name}")
    # Some containers forbid terminals in namespaces; only tests about terminals miss them.
    with suppress(OSError):
        _mount(
            "devpts", root + "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"
        )
        os.symlink("pts/ptmx", root + "/dev/ptmx")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        import fcntl

        request = struct.pack("16sh", b"lo", 1)  # SIOCSIFFLAGS, IFF_UP
        fcntl.ioctl(sock, 0x8914, request)


def _drop_privileges(outer: int) -> None:
    if outer:
        os.setgroups([])
        os.setresgid(INNER_ID, INNER_ID, INNER_ID)
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    if outer:
        os.setresuid(INNER_ID, INNER_ID, INNER_ID)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _execute(spec: dict[str, Any]) -> NoReturn:
    for name, value in spec["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    os.nice(spec["nice"])
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these; what it runs should not
        signal.signal(number, signal.SIG_DFL)
    os.chdir(spec["cwd"])
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])


def _fail(error: BaseException) -> NoReturn:
    os.write(2, f"{MARK}{error}\n".encode())
    os._exit(FAILED)


def _command(spec: dict[str, Any]) -> NoReturn:
    try:
        _drop_privileges(spec["uid"])
        _execute(spec)
    except FileNotFoundError as error:
        os.write(2, f"{spec['argv'][0]}: {error.strerror}\n".encode())
        os._exit(127)
    except BaseException as error:  # noqa: BLE001 - said on standard error; this process ends here
        _fail(error)


def _init(spec: dict[str, Any]) -> NoReturn:
    """Process 1 of the namespace: sets it up, starts the command, reaps orphans, ends with the command.
    The kernel then kills whatever is left in the namespace."""
    try:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _build_root(spec)
        _call("sethostname", b"sandbox", 7)
        if not spec["network"]:
            _loopback_up()
        child = os.fork()
        if child == 0:
            _command(spec)
    except BaseException as error:  # noqa: BLE001 - said on standard error; this process ends here
        _fail(error)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def main() -> NoReturn:
    mode, text = sys.argv[1:]
    spec = json.loads(text)
    if mode == "limits":
        spec["uid"] = 0
        _command(spec)
    try:
        _enter_namespaces(spec["uid"], network=spec["network"])
        child = os.fork()
    except BaseException as error:  # noqa: BLE001 - said on standard error; this process ends here
        _fail(error)
    if child == 0:
        _init(spec)
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
