"""Blank lines that a removed line leaves behind.

ruff takes out an unused import and leaves the blank lines around it, which then stand together. Here they become
as many as the longer of the two runs had; at the beginning of a file or a block none. Only places where whole lines
were removed are touched, and only when the code means the same without those blank lines.
"""

import ast
import tokenize
import warnings
from difflib import SequenceMatcher
from io import BytesIO
from pathlib import Path


def tidy(path: Path, before: bytes) -> None:
    """Close the gaps in the file at `path`, whose content was `before`. A file that cannot be read as Python stays."""
    after = path.read_bytes()
    closed = close_gaps(before, after)
    if closed != after:
        path.write_bytes(closed)


def close_gaps(before: bytes, after: bytes) -> bytes:
    """`after` without the blank lines that stand together because lines of `before` are gone from between them."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    surplus: set[int] = set()
    for kind, start, end, place, _ in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "delete" and any(line.strip() for line in old[start:end]):
            surplus.update(_surplus(old, start, end, new, place))
    if not surplus:
        return after
    closed = b"".join(line for number, line in enumerate(new) if number not in surplus)
    return closed if _same_code(after, closed) else after


def _surplus(old: list[bytes], start: int, end: int, new: list[bytes], place: int) -> range:
    """The lines of `new` to take out where old[start:end] stood before new[place]."""
    first, last = place, place
    while first and not new[first - 1].strip():
        first -= 1
    while last < len(new) and not new[last].strip():
        last += 1
    removed = [bool(line.strip()) for line in old[start:end]]
    above = (place - first) + removed.index(True)
    below = (last - place) + removed[::-1].index(True)
    begins = first == 0 or new[first - 1].rstrip().endswith(b":")
    keep = 0 if (begins and not above) or last == len(new) else max(above, below)
    return range(first + keep, last)


def _same_code(one: bytes, other: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.dump(ast.parse(_text(one))) == ast.dump(ast.parse(_text(other)))
    except (SyntaxError, ValueError, RecursionError):
        return False


def _text(source: bytes) -> str:
    encoding, _ = tokenize.detect_encoding(BytesIO(source).readline)
    return source.decode(encoding)
