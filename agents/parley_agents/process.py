"""Run a command as a child process: bounded in time and output, and never left behind."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes kept of each of standard output and standard error, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. `returncode` is negative for a signal, as in subprocess; times are seconds."""

    command: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False
    truncated: bool = False

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        """Standard error as text; bytes that are not UTF-8 are replaced."""
        return self.stderr.decode("utf-8", "replace")


def minimal_environment(**extra: str) -> dict[str, str]:
    """An environment without the caller's secrets: PATH, a UTF-8 locale, and what is given."""
    return {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        **extra,
    }


async def run(
    command: Sequence[str],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float = 60.0,
    output_limit: int = OUTPUT_LIMIT,
    watch: Callable[[int], Coroutine[Any, Any, None]] | None = None,
    tree: Callable[[int], list[int]] | None = None,
) -> Completed:
    """Run `command` in a session of its own and wait for its end.

    On timeout or cancellation the whole process group is killed before this returns or raises, so no
    child outlives its caller. Output beyond `output_limit` bytes is read and dropped (`truncated`).
    `watch` is run beside the command with its process id until it ends; `tree` tells which other processes
    belong to one and are killed with it.

    Raises OSError when the command cannot be started at all.
    """
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=dict(env) if env is not None else minimal_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    timed_out = False
    readers = (
        asyncio.create_task(_read(process.stdout, output_limit)),
        asyncio.create_task(_read(process.stderr, output_limit)),
        asyncio.create_task(_write(process.stdin, stdin)),
    )
    watcher = asyncio.create_task(watch(process.pid)) if watch else None
    try:
        try:
            async with asyncio.timeout(timeout):
                await _end(process, watcher)
                await asyncio.gather(*readers)
        except TimeoutError:
            timed_out = True
    finally:
        if watcher:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        # Also after a clean exit: a background child of the command must not stay behind.
        for victim in (-process.pid, *(tree(process.pid) if tree else ())):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(victim, signal.SIGKILL)
        await asyncio.shield(process.wait())
        _, pending = await asyncio.wait(readers, timeout=2.0)
        for reader in pending:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    (out, out_cut), (err, err_cut) = (_result(readers[0]), _result(readers[1]))
    return Completed(
        tuple(command),
        process.returncode if process.returncode is not None else -signal.SIGKILL,
        out,
        err,
        time.monotonic() - started,
        timed_out,
        out_cut or err_cut,
    )


async def _end(process: asyncio.subprocess.Process, watcher: "asyncio.Task[None] | None") -> None:
    """Wait for the process. A watcher that fails must not leave it unwatched: its error is raised."""
    if watcher is None:
        await process.wait()
        return
    ended = asyncio.create_task(process.wait())
    try:
        await asyncio.wait({ended, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if watcher.done():
            watcher.result()
        await ended
    finally:
        ended.cancel()


def _result(reader: "asyncio.Task[tuple[bytes, bool]]") -> tuple[bytes, bool]:
    return (b"", True) if reader.cancelled() else reader.result()


async def _read(stream: asyncio.StreamReader, limit: int) -> tuple[bytes, bool]:
    kept, cut = bytearray(), False
    while chunk := await stream.read(65536):
        room = limit - len(kept)
        kept += chunk[:room]
        cut = cut or len(chunk) > room
    return bytes(kept), cut


async def _write(stream: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def in_thread(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`asyncio.to_thread`, but when cancelled it raises only after the thread has ended: what the caller then
    cleans up is not written to any more."""
    work = asyncio.ensure_future(asyncio.to_thread(fn, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
