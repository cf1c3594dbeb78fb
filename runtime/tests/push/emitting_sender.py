"""A process with a sender that also appends events, as a worker's does: `emitting_sender.py ADDRESS`.

Each line on stdin names tasks, `task,task,…`: these get EVENTS each in turn, RATE tasks a second, until the next line; an
empty list stops it. It says "ready".
"""

import asyncio
import itertools
import sys
import time
from collections import defaultdict
from ipaddress import ip_network

import orjson
from backends import opened_on

from parley_core.urlguard import UrlGuard
from parley_runtime.push.policy import PushPolicy
from parley_runtime.push.sender import Sender
from parley_runtime.store import Append, NewEvent

RATE, EVENTS = 5, 3


async def main() -> None:
    lines = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    generations: dict[str, int] = defaultdict(int)
    async with opened_on(sys.argv[1]) as own:
        policy = PushPolicy(attempt=8.0, lease=10.0, at_once=48, at_once_unproven=36, at_once_slow=24)
        guard = UrlGuard([ip_network("127.0.0.0/8")])
        sender = Sender(own.outbox, guard, f"sender-{time.time_ns()}", policy)

        async def emit(task_id: str) -> None:
            first = generations[task_id] + 1
            generations[task_id] += EVENTS
            body = orjson.dumps({"statusUpdate": {"taskId": task_id, "at": time.time()}})
            appended = await own.store.append(Append(task_id, 1, 1, first, [NewEvent(body, 2)] * EVENTS))
            assert appended.pushes
            sender.wake()

        async def in_turn(tasks: list[str]) -> None:
            for task_id in itertools.cycle(tasks):
                await asyncio.gather(asyncio.shield(emit(task_id)), asyncio.sleep(1 / RATE))

        sending = asyncio.create_task(sender.run())
        turning: asyncio.Task[None] | None = None
        print("ready", flush=True)
        while line := await lines.readline():
            if turning is not None:
                turning.cancel()
            if tasks := line.decode().strip():
                turning = asyncio.create_task(in_turn(tasks.split(",")))
        sending.cancel()


asyncio.run(main())
