"""TCP ports of 127.0.0.1."""

import random
import socket

# Below the ports that systems give to outgoing connections: a server that is down gets its port back when it restarts.
_RANGE = range(10_240, 32_000)


def free_port(preferred: int = 0, *, also: int = 0) -> int:
    """The preferred port if nothing listens there, else some free one; with `also`, port + also is free too."""
    tries = [preferred] if preferred else []
    for port in [*tries, *random.SystemRandom().sample(_RANGE, 100)]:
        if _free(port) and _free(port + also):
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
