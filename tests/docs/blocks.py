"""The manual's code blocks, and a shell that follows a page of it as a reader would.

What follows the language of a fenced block says what is done with it: `run` (a command, in order, in one shell
for the whole page), `with=NAME` (the same, where the test has that engine), `background` (a command that a reader
would give a terminal of its own), `file=NAME` (saved under that name), `output` (what the block before must have printed; … stands for anything). Others are only read.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from engines.ports import free_port

PROJECT = Path(__file__).parents[2]
BIN = PROJECT / ".venv" / "bin"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what is done with it, its text, and the line it begins on."""

    language: str
    marks: tuple[str, ...]
    text: str
    line: int

    def __contains__(self, mark: str) -> bool:
        return mark in self.marks

    @property
    def file(self) -> str:
        """The name it is saved under, or ""."""
        return self._named("file=")

    @property
    def engine(self) -> str:
        """The engine without which it is not run, or ""."""
        return self._named("with=")

    def _named(self, mark: str) -> str:
        return next((m.removeprefix(mark) for m in self.marks if m.startswith(mark)), "")


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence":
            language, *marks = token.info.split() or [""]
            assert token.map
            yield Block(language, tuple(marks), token.content, token.map[0] + 1)


class Followed(AssertionError):
    """A page did not do what it says."""


def follow(
    page: Path,
    folder: Path,
    *,
    seconds: float,
    settings: Mapping[str, str] | None = None,
    engines: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Do what a page says, in `folder`, and check that what it says comes of it. Ports written in it are
    exchanged for free ones, `settings` are what the page has the reader put into the environment, and `engines` what it
    has him add for a further engine; temporary folders are made in `folder`/.outputs. Raises Followed, which names the
    block at fault; leaves no process of its group.
    """
    given = list(blocks(page))
    ports = {str(number): str(free_port()) for number in (9999, 9998, 9997, 8420)}
    outputs = folder / ".outputs"
    outputs.mkdir()
    script = outputs / "script.sh"
    script.write_text(_exchanged(_script(given, outputs, engines or {}), ports))
    # What a make around the tests was told is not for the makes of a page.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PARLEY_", "MAKE", "MFLAGS"))}
    environment.pop("ARGS", None)
    environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "200"}
    environment |= settings or {}
    environment["TMPDIR"] = str(outputs)
    shell = subprocess.Popen(
        ["bash", str(script)], cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        code: int | str = shell.wait(seconds)
    except subprocess.TimeoutExpired:
        code = f"not done after {seconds:.0f} s"
    finally:
        _end_group(shell)
    if code:
        place = max(int(path.stem) for path in outputs.glob("*.out"))
        raise Followed(_told(page, given[place], outputs / f"{place}.out", f"exit code {code}"))
    for number, block in enumerate(given):
        if "output" in block and (outputs / f"{number - 1}.out").exists():
            printed = (outputs / f"{number - 1}.out").read_text()
            if not re.fullmatch(_pattern(_exchanged(block.text, ports)), printed.strip()):
                raise Followed(_told(page, block, outputs / f"{number - 1}.out", "printed something else"))


def _script(given: list[Block], outputs: Path, engines: Mapping[str, Mapping[str, str]]) -> str:
    lines = ["set -euo pipefail"]
    for number, block in enumerate(given):
        output = shlex.quote(str(outputs / f"{number}.out"))
        if block.file:
            lines.append(f"cat >{shlex.quote(block.file)} <<'END OF FILE'\n{block.text}END OF FILE")
        elif "background" in block:
            lines.append(f"(\n{block.text}) >{output} 2>&1 &")
            served = re.findall(r"--listen 127\.0\.0\.1:(\d+)", block.text)
            lines += [
                f"until (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.1; done" for port in served
            ]
        elif "run" in block and block.language == "python":
            lines.append(f"exec >{output} 2>&1\npython - <<'END OF FILE'\n{block.text}END OF FILE")
        elif "run" in block or block.engine in engines:
            added = engines.get(block.engine, {})
            lines += [f"export {name}={shlex.quote(value)}" for name, value in added.items()]
            lines.append(f"exec >{output} 2>&1\n{block.text}")
    return "\n".join(lines) + "\n"


def _exchanged(text: str, ports: Mapping[str, str]) -> str:
    return re.sub(rf"\b({'|'.join(ports)})\b", lambda found: ports[found[0]], text)


def _pattern(text: str) -> str:
    return re.escape(text.strip()).replace("…", r"(?s:.*?)")


def _told(page: Path, block: Block, output: Path, what: str) -> str:
    printed = output.read_text() if output.exists() else ""
    return f"{page.name}, line {block.line}: {what}\n{block.text}\n-- printed --\n{printed[-6000:]}"


def _end_group(shell: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(shell.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all of it has ended already
    shell.wait(10)
