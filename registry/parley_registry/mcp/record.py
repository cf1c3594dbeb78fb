"""MCP servers in the registry's own database, SQLite or PostgreSQL: a row a version."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, text

from parley_registry.backends.sql.database import Database
from parley_registry.backends.sql.paging import paged
from parley_registry.backends.sql.transaction import Transaction
from parley_registry.entry import Agent
from parley_registry.errors import LatestInUse, VersionConflict
from parley_registry.mcp.server import McpKey, McpRegistered, McpServer
from parley_registry.mcp.wire import read_server, server_json
from parley_registry.versions import becomes_latest

_ONE = "namespace = :namespace AND name = :name"
_SERVERS = text(f"SELECT body FROM mcp_servers WHERE {_ONE}")
_KEYS = text("SELECT DISTINCT namespace, name FROM mcp_servers WHERE source = :source")
_PUT = text("""
    INSERT INTO mcp_servers (namespace, name, version, latest, digest, source, health, words, body, updated)
    VALUES (:namespace, :name, :version, :latest, :digest, :source, :health, :words, :body, :updated)
    ON CONFLICT (namespace, name, version) DO UPDATE SET latest = excluded.latest, digest = excluded.digest,
        source = excluded.source, health = excluded.health, words = excluded.words, body = excluded.body,
        updated = excluded.updated
""")
_DROP = text(f"DELETE FROM mcp_servers WHERE {_ONE} AND version = :version")


class SqlMcpServers:
    """MCP servers in a database that is open; changes are logged as of kind "mcp". All calls may raise Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def versions(self, key: McpKey) -> list[McpServer]:
        """All versions of a server, in no particular order; none when there is no such server."""
        return await self._database.glance(lambda db: _versions(db, key))

    async def page(
        self, namespace: str, words: Sequence[str], after: McpKey | None, limit: int
    ) -> list[McpServer]:
        """Up to `limit` servers in their latest versions by namespace and name, following `after`: of one namespace (or
        all, for ""), with every one of `words` (in small letters) in name, description or tools."""
        statement, values = paged("mcp_servers", "body", namespace, words, after, limit, "latest")
        found = await self._database.glance(lambda db: db.execute(statement, values).fetchall())
        return [read_server(orjson.loads(row[0])) for row in found]

    async def register(self, server: McpServer) -> McpRegistered:
        """Keep a version; it is the latest if `versions.becomes_latest`. The same again changes nothing.

        Raises VersionConflict when this version is there with other content, or the server is kept in Nacos.
        """

        def run(db: Transaction) -> McpRegistered:
            kept = {one.version: one for one in _versions(db.connection, server.key)}
            known = kept.get(server.version)
            if any(one.source != server.source for one in kept.values()):
                raise VersionConflict(
                    f"an MCP server named {server.name!r} is kept elsewhere; take another name"
                )
            if known is not None:
                if known.digest != server.digest:
                    raise VersionConflict(
                        f"the MCP server {server.name} {server.version} is there with other content; a version does "
                        "not change: raise the version and register that"
                    )
                return McpRegistered(known, False)
            latest = becomes_latest(server.version, kept)
            for one in kept.values():
                if latest and one.latest:
                    _put(db, replace(one, latest=False))
            fresh = replace(server, latest=latest)
            _put(db, fresh)
            db.log("mcp", Agent(*server.key), server.version)
            return McpRegistered(fresh, True)

        return await self._database.write(run)

    async def delete(self, key: McpKey, version: str | None) -> bool:
        """Delete a version, or all of a server; False when there is nothing to delete. Raises LatestInUse."""

        def run(db: Transaction) -> bool:
            kept = _versions(db.connection, key)
            going = [one for one in kept if version is None or one.version == version]
            if len(going) < len(kept) and any(one.latest for one in going):
                raise LatestInUse(
                    f"{version} is the latest version of the MCP server {key.name} and others exist; delete those first, "
                    "or the server with all its versions"
                )
            for one in going:
                db.do(_DROP, **key._asdict(), version=one.version)
                db.log("mcp", Agent(*key), one.version)
            return bool(going)

        return await self._database.write(run)

    # -- for a mirror of another record
    async def keys(self, source: str) -> list[McpKey]:
        """The servers that are here from a source."""
        found = await self._database.glance(lambda db: db.execute(_KEYS, {"source": source}).fetchall())
        return [McpKey(row.namespace, row.name) for row in found]

    async def copy(self, key: McpKey, servers: Sequence[McpServer]) -> bool:
        """Keep the versions of a server as its source has them (none: it is gone); False when they were kept so already."""
        wanted = {one.version: one for one in servers}

        def run(db: Transaction) -> bool:
            kept = {one.version: one for one in _versions(db.connection, key)}
            changed = False
            for version in kept.keys() - wanted.keys():
                db.do(_DROP, **key._asdict(), version=version)
                changed = True
            for version, one in wanted.items():
                here = kept.get(version)
                if here is None or replace(here, updated=one.updated) != one:
                    _put(db, one)
                    changed = True
            if changed:
                latest = next((one.version for one in servers if one.latest), "")
                db.log("mcp", Agent(*key), latest)
            return changed

        return await self._database.write(run)


def _versions(db: Connection, key: McpKey) -> list[McpServer]:
    return [read_server(orjson.loads(row[0])) for row in db.execute(_SERVERS, key._asdict())]


def _put(db: Transaction, server: McpServer) -> None:
    db.do(_PUT, **_row(server))


def _row(server: McpServer) -> Mapping[str, Any]:
    tools = "\n".join(f"{one.name} {one.description}" for one in server.tools)
    return {
        **server.key._asdict(),
        "version": server.version,
        "latest": server.latest,
        "digest": server.digest,
        "source": server.source,
        "health": server.health,
        "words": f"{server.name}\n{server.description}\n{tools}".lower(),
        "body": orjson.dumps(server_json(server)),
        "updated": server.updated,
    }
