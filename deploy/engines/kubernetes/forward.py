"""Makes a server of this machine's loopback reachable at another of its addresses: `forward.py ADDRESS PORT`, until it is ended."""

import asyncio
import sys

from engines.links import Link

READY = "forwarding"


async def forward(address: str, port: int) -> None:
    """From `port` of the address to the same port of the loopback, for ever."""
    link = Link(lambda: ("127.0.0.1", port), address=address, port=port)
    await link.start()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(forward(sys.argv[1], int(sys.argv[2])))
