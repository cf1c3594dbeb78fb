"""TCP ports of 127.0.0.1."""

import random
import socket
from collections.abc import Sequence

# Below the ports that systems give to outgoing connections: a server that is down gets its port back when it restarts.
_RANGE = range(10_240, 32_000)


def free_port(preferred: int = 0, *, also: Sequence[int] = ()) -> int:
    """The preferred port if nothing listens there, else some free one; for each n of `also`, port + n is free too."""
    tries = [preferred] if preferred else []
    for port in [*tries, *random.SystemRandom().sample(_RANGE, 100)]:
        if all(_free(port + offset) for offset in (0, *also)):
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
