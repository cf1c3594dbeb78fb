"""Every SQL statement of the registry's record, by name (SQLite's dialect), and the schema's steps."""

SCHEMA = (
    """
    CREATE TABLE agents (
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        latest TEXT NOT NULL,
        source TEXT NOT NULL,
        next_look REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (namespace, name)
    ) WITHOUT ROWID;
    CREATE INDEX agents_by_look ON agents (next_look) WHERE source <> '';
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        health TEXT NOT NULL,
        card BLOB NOT NULL,
        digest TEXT NOT NULL,
        updated REAL NOT NULL,
        UNIQUE (namespace, name, version),
        FOREIGN KEY (namespace, name) REFERENCES agents (namespace, name)
    );
    CREATE TABLE instances (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        url TEXT NOT NULL,
        interfaces BLOB NOT NULL,
        since REAL NOT NULL,
        seen REAL NOT NULL,
        PRIMARY KEY (entry, id)
    ) WITHOUT ROWID;
    CREATE INDEX instances_by_seen ON instances (seen);
    CREATE TABLE changes (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL
    );
    """,
)

PING = "SELECT count(*) FROM changes WHERE seq < 0"

AGENT = "SELECT latest, source FROM agents WHERE namespace = ? AND name = ?"
ADD_AGENT = "INSERT INTO agents (namespace, name, latest, source, next_look) VALUES (?, ?, ?, ?, ?)"
SET_LATEST = "UPDATE agents SET latest = ? WHERE namespace = ? AND name = ?"
DROP_AGENT = "DELETE FROM agents WHERE namespace = ? AND name = ?"

_ENTRY = """
    SELECT e.id, e.namespace, e.name, e.version, a.latest = e.version, e.health, a.source, e.card, e.digest, e.updated
    FROM entries e JOIN agents a ON a.namespace = e.namespace AND a.name = e.name
"""
ENTRY = _ENTRY + "WHERE e.namespace = ? AND e.name = ? AND e.version = ?"
LATEST = _ENTRY + "WHERE e.namespace = ? AND e.name = ? AND e.version = a.latest"
ENTRIES_OF_AGENT = _ENTRY + "WHERE e.namespace = ? AND e.name = ?"
FIRST_PAGE = _ENTRY + "ORDER BY e.namespace, e.name, e.version LIMIT ?"
NEXT_PAGE = (
    _ENTRY
    + "WHERE (e.namespace, e.name, e.version) > (?, ?, ?) ORDER BY e.namespace, e.name, e.version LIMIT ?"
)

VERSIONS = "SELECT version FROM entries WHERE namespace = ? AND name = ?"
ADD_ENTRY = """
    INSERT INTO entries (namespace, name, version, health, card, digest, updated)
    VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
REPLACE_CARD = "UPDATE entries SET card = ?, digest = ?, updated = ? WHERE id = ?"
SET_HEALTH = """
    UPDATE entries SET health = ?, updated = ? WHERE id = ? AND health <> ? RETURNING namespace, name, version
"""
TOUCH = "UPDATE entries SET updated = ? WHERE id = ?"
DROP_ENTRY = "DELETE FROM entries WHERE namespace = ? AND name = ? AND version = ?"
OTHERS_OF_SOURCE = """
    SELECT id FROM entries WHERE namespace = ? AND name = ? AND version <> ? AND health <> 'down'
"""

INSTANCES = "SELECT id, url, interfaces FROM instances WHERE entry = ? ORDER BY since, id"
ANNOUNCE = """
    INSERT INTO instances (entry, id, url, interfaces, since, seen) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (entry, id) DO UPDATE SET url = excluded.url, interfaces = excluded.interfaces, seen = excluded.seen
"""
HEARTBEAT = """
    UPDATE instances SET seen = ?
    WHERE entry = (SELECT id FROM entries WHERE namespace = ? AND name = ? AND version = ?) AND id = ?
"""
WITHDRAW = """
    DELETE FROM instances
    WHERE entry = (SELECT id FROM entries WHERE namespace = ? AND name = ? AND version = ?) AND id = ?
    RETURNING entry
"""
ANY_EXPIRED = "SELECT 1 FROM instances WHERE seen < ? LIMIT 1"
EXPIRE = "DELETE FROM instances WHERE seen < ? RETURNING entry"
HAS_INSTANCES = "SELECT 1 FROM instances WHERE entry = ? LIMIT 1"

SOURCES_DUE = """
    SELECT namespace, name, source FROM agents WHERE source <> '' AND next_look <= ? ORDER BY next_look LIMIT ?
"""
LOOKED = "UPDATE agents SET next_look = ? WHERE namespace = ? AND name = ?"
AGENTS_OF_SOURCE = "SELECT name, latest FROM agents WHERE namespace = ? AND source = ?"
ENTRY_IDS = "SELECT id, version FROM entries WHERE namespace = ? AND name = ?"

LOG = "INSERT INTO changes (kind, namespace, name, version) VALUES (?, ?, ?, ?) RETURNING seq"
TRIM_LOG = "DELETE FROM changes WHERE seq <= ?"
CHANGES = "SELECT seq, kind, namespace, name, version FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
LOG_ENDS = """
    SELECT coalesce((SELECT min(seq) FROM changes), 0),
           coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)
"""
LAST_CHANGE = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)"
