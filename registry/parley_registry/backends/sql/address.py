"""Where a registry's schema in PostgreSQL is."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from parley_core.errors import ConfigurationError

SCHEMA = "parley_registry"
"""The schema that a registry uses unless `?schema=` names another."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database as asyncpg takes it, and the registry's schema in it."""

    dsn: str = field(repr=False)
    schema: str


def address_of(url: str) -> Address:
    """The address that `postgresql://user:password@host:port/database[?schema=x]` means. Other parameters are libpq's
    (sslmode …). Raises ConfigurationError, which never shows the password."""
    try:
        parts = urlsplit(url)
        readable = all(map(_readable, parts.netloc.rpartition("@")[2].split(",")))
    except ValueError:
        readable = False
    if not readable:
        raise ConfigurationError(
            "--store is no URL: write / ? # @ [ ] % of user and password as %2F %3F %23 %40 %5B %5D %25, and hosts as host:port"
        )
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ConfigurationError("--store needs a database: postgresql://user:password@host:5432/database")
    query = dict(parse_qsl(parts.query))
    schema = query.pop("schema", "") or SCHEMA
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", schema):
        raise ConfigurationError(
            f"schema {schema!r} of --store cannot be used: begin with a lower-case letter, then letters, digits and _ (at most 48)"
        )
    return Address(urlunsplit(parts._replace(query=urlencode(query))), schema)


def _readable(host: str) -> bool:
    found = re.fullmatch(r"(?:\[[^\]]*\]|[^:]*)(?::(\d{0,5}))?", host)
    return found is not None and int(found[1] or 0) <= 65535
