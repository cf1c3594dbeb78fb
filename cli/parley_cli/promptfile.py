"""Prompts and MCP servers as they are given to the command: in a file, with values on the command line."""

from pathlib import Path
from typing import Any

from parley_cli.options import Misuse


def told_in(file: Path) -> dict[str, Any]:
    """What a file tells of a version: all that a .json file has, of any other the text as its template. Raises Misuse."""
    return json_in(file) if file.suffix == ".json" else {"name": file.stem, "template": _text_in(file)}


def json_in(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises Misuse."""
    import orjson

    try:
        told = orjson.loads(_text_in(file))
    except orjson.JSONDecodeError as error:
        raise Misuse(f"{file} is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise Misuse(f"{file} holds no JSON object; write it like {{'name': …, 'version': …}}")
    return told


def _text_in(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Misuse(f"{file} is no text in UTF-8") from error
    except OSError as error:
        raise Misuse(f"cannot read {file}: {error.strerror}") from error


def pair(text: str) -> tuple[str, str]:
    """Name and value of `name=value`. Raises Misuse."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Misuse(f"{text!r} is no value of a variable; write it like language=Python")
    return name, value


def defaults(given: list[str]) -> list[dict[str, Any]]:
    """Variables with defaults, as a version declares them. Raises Misuse."""
    return [{"name": name, "default": value} for name, value in map(pair, given)]
