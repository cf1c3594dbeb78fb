"""Templates and what they may call; answers made from them."""

import hashlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
from fastapi.responses import HTMLResponse
from jinja2 import ChainableUndefined, Environment, PackageLoader

STATIC: Mapping[str, bytes] = {
    one.name: one.read_bytes()
    for one in (files("parley_registry.pages") / "static").iterdir()
    if one.name.endswith((".css", ".js", ".svg"))
}
"""The files that the pages load, by name."""

signed_in: ContextVar[bool] = ContextVar("signed_in", default=False)
"""Whether who asks for the page has signed in with this browser, and so can sign out."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def web_link(url: Any) -> str:
    """The URL if a page may link to it (absolute http or https), else ""."""
    if not isinstance(url, str) or any(ord(c) < 33 for c in url):
        return ""
    try:
        parts = urlsplit(url)
        return url if parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:
        return ""


def path_of(namespace: str, name: str, *rest: str) -> str:
    """The path of an agent's page; with a version, of that version's; with more, of a page below."""
    return "/" + "/".join(quote(part, safe="") for part in ("agents", namespace, name, *rest))


def _path(text: str) -> str:
    return quote(text, safe="")


def anchor(key: Sequence[str]) -> str:
    """An id for what these words name within a page, the same in each rendering, so that focus stays where it is."""
    return "e" + hashlib.blake2b("\0".join(key).encode(), digest_size=6).hexdigest()


def ago(seconds: float, now: float | None = None) -> str:
    """A time as people say it: "just now", "5 min ago", a date when it is long ago."""
    then = datetime.fromtimestamp(seconds, UTC)
    passed = (now if now is not None else datetime.now(UTC).timestamp()) - seconds
    if passed < _MINUTE:
        return "just now"
    if passed < _HOUR:
        return f"{passed // _MINUTE:.0f} min ago"
    if passed < 2 * _DAY:
        return f"{passed // _HOUR:.0f} h ago"
    if passed < 31 * _DAY:
        return f"{passed // _DAY:.0f} days ago"
    return f"{then:%Y-%m-%d}"


def iso(seconds: float) -> str:
    """A time by ISO 8601, in UTC, to the second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def pretty(value: Any) -> str:
    """JSON to be read by people."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def versioned(name: str) -> str:
    """The path of a static file, which changes with its content."""
    return f"/static/{name}?v={hashlib.sha256(STATIC[name]).hexdigest()[:12]}"


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("parley_registry.pages"),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"ago": ago, "iso": iso, "pretty": pretty, "web_link": web_link, "path": _path}
    made.globals |= {"path_of": path_of, "anchor": anchor, "static": versioned, "signed_in": signed_in.get}
    return made


_templates = _environment()


def fragment(template: str, **values: Any) -> str:
    """A template's text: HTML, in which every value is escaped."""
    return _templates.get_template(template).render(values)


def page(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """An answer with a page."""
    return HTMLResponse(_templates.get_template(template).render(values), status)


def error_page(status: int, title: str, detail: str, faults: tuple[Any, ...] = ()) -> HTMLResponse:
    """An answer that says what went wrong and what to do."""
    return page("error.html", status=status, title=title, detail=detail, faults=faults)
