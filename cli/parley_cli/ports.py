"""Free ports of the loopback interface."""

import random
import socket
from collections.abc import Container
from itertools import islice

# Below the ports that systems give to outgoing connections: nothing takes a server's port by chance while it restarts.
_RANGE = range(10_240, 32_000)


def free_ports(count: int, besides: Container[int] = ()) -> list[int]:
    """So many different ports that nobody listens on now, none of them in `besides`."""
    tries = random.sample(_RANGE, len(_RANGE))
    return list(islice((port for port in tries if port not in besides and is_free(port)), count))


def is_free(port: int) -> bool:
    """Whether one could listen on a port now."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
