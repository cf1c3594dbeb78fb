"""Addresses as logs and terminals may show them."""

from urllib.parse import urlsplit, urlunsplit


def shown_address(url: str) -> str:
    """An address without what may be secret in it: user, password and parameters. "…" for what is no address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    shown = urlunsplit(bare)
    # urlunsplit leaves the empty host of sqlite:///file.db out
    return shown if parts.netloc or "://" not in url else f"{parts.scheme}://{parts.path}"
