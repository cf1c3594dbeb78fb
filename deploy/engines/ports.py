"""TCP ports of 127.0.0.1."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Sequence
from functools import cache

# Below the ports that systems give to outgoing connections: a server that is down gets its port back when it restarts.
_RANGE = range(10_240, 32_000)


def free_port(preferred: int = 0, *, also: Sequence[int] = ()) -> int:
    """The preferred port if nothing listens there, else some free one; for each n of `also`, port + n is free too.

    Nobody else who asks here is given a port again while this process lives, so one may listen on it later.
    """
    tries = [preferred] if preferred else []
    for port in [*tries, *random.SystemRandom().sample(_RANGE, 100)]:
        wanted = [port + offset for offset in (0, *also)]
        if all(_free(one) for one in wanted) and _claimed(wanted):
            return port
    raise OSError("no free port on 127.0.0.1")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


_given: set[int] = set()


def _claimed(ports: Sequence[int]) -> bool:
    """Claim them all for this process: byte n of a file stands for port n, and its lock ends with the process."""
    if not _given.isdisjoint(ports):
        return False
    for port in ports:
        try:
            fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False  # those before it stay claimed; there are enough
    _given.update(ports)
    return True


@cache
def _claims() -> int:
    path = os.path.join(tempfile.gettempdir(), f"parley-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
