"""git as Parley calls it: nobody's configuration, no hooks, no filters, no prompts, no network."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from parley_agents.process import Completed, minimal_environment, run
from parley_core.errors import ParleyError

LIMIT = 512 * 1024 * 1024
"""Bytes of output a single git command may produce (bundles and diffs are output too)."""


class GitError(ParleyError):
    """git refused; the message names the operation and git's own reason."""


class NoFolder(GitError):
    """The folder that git was to work in is not there, or is a file."""


_SETTINGS = {
    "safe.directory": "*",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.autocrlf": "false",
    "core.quotePath": "false",
    "core.commitGraph": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.sshCommand": "false",
    "protocol.allow": "never",
    "protocol.file.allow": "always",
    "submodule.recurse": "false",
    "diff.external": "",
    "diff.renames": "true",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
}

_DATE = "2001-01-01T00:00:00+0000"
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Parley",
    "GIT_AUTHOR_EMAIL": "parley@localhost",
    "GIT_AUTHOR_DATE": _DATE,
    "GIT_COMMITTER_NAME": "Parley",
    "GIT_COMMITTER_EMAIL": "parley@localhost",
    "GIT_COMMITTER_DATE": _DATE,
}
"""The same author and date each time, so that the same change is the same commit id wherever it is made."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process environment every git command gets."""
    settings = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(_SETTINGS)}
    settings |= {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(_SETTINGS.values())}
    return minimal_environment(
        HOME="/nonexistent",
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_CONFIG_SYSTEM="/dev/null",
        GIT_CONFIG_NOSYSTEM="1",
        GIT_ATTR_NOSYSTEM="1",
        GIT_TERMINAL_PROMPT="0",
        GIT_ASKPASS="false",
        GIT_PAGER="cat",
        GIT_OPTIONAL_LOCKS="0",
        GIT_NO_LAZY_FETCH="1",
        GIT_CONFIG_COUNT=str(len(_SETTINGS)),
        **settings,
        **_IDENTITY,
        **(extra or {}),
    )


async def git(
    *arguments: str,
    cwd: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = 120.0,
    accept: Sequence[int] = (0,),
) -> Completed:
    """Run one git command in `cwd`.

    Raises GitError when it ends with a code not in `accept`, takes longer than `timeout` seconds, or when
    git is not installed.
    """
    try:
        done = await run(
            ("git", *arguments),
            cwd=cwd,
            env=environment(env),
            stdin=stdin,
            timeout=timeout,
            output_limit=LIMIT,
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        if await asyncio.to_thread(cwd.is_dir):
            raise GitError("git is not installed: install git 2.32 or newer") from error
        raise NoFolder(f"there is no folder {cwd}") from error
    if done.timed_out:
        raise GitError(f"git {arguments[0]} took longer than {timeout:.0f} s and was stopped")
    if done.returncode not in accept:
        reason = done.errors.strip().splitlines()
        raise GitError(f"git {arguments[0]}: {reason[-1] if reason else f'exit {done.returncode}'}")
    if done.truncated:
        raise GitError(f"git {arguments[0]} produced more than {LIMIT // 2**20} MiB")
    return done
