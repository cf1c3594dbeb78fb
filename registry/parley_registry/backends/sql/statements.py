"""Every SQL statement of the record, by name, in the words that SQLite and PostgreSQL share. The schema is in `migrations/`.

`:keys`, `:agents` and `:beats` stand for a list of rows, however long.
"""

from sqlalchemy import TextClause, bindparam, text


def _of(statement: str, *lists: str) -> TextClause:
    return text(statement).bindparams(*(bindparam(name, expanding=True) for name in lists))


PING = text("SELECT count(*) FROM changes WHERE seq < 0")

# A transaction that changes anything begins with one of these. The row is its turn: who has it is alone, so changes
# are committed in the order of their numbers, and a reader never sees a number before a smaller one.
TURN = {
    "sqlite": text("SELECT seq, audited, 0.0 FROM head"),
    "postgresql": text(
        "SELECT seq, audited, extract(epoch FROM clock_timestamp())::float8 FROM head FOR UPDATE"
    ),
}
CLOCK = text("SELECT extract(epoch FROM clock_timestamp())::float8")
COUNTED = text("UPDATE head SET seq = :seq, audited = :audited")
STILL = text("UPDATE head SET seq = seq")
TELL = text("SELECT pg_notify(:channel, '')")
PATIENT = text("SELECT set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true)")
IN_NO_HURRY = text("SET LOCAL synchronous_commit = off")

# -- agents and entries. An agent without a latest version has none at all: its name is still its owner's.
AGENT = text("SELECT latest, source, owner FROM agents WHERE namespace = :namespace AND name = :name")
ADD_AGENT = text("""
    INSERT INTO agents (namespace, name, latest, source, owner, next_look, touched)
    VALUES (:namespace, :name, :latest, :source, :owner, :now, :now)
""")
ADD_SHAPES = text("INSERT INTO shapes (namespace, shape, name) VALUES (:namespace, :shape, :name)")
ALIKE = _of(
    """
    SELECT a.name FROM shapes s JOIN agents a ON a.namespace = s.namespace AND a.name = s.name
    WHERE s.namespace = :namespace AND s.shape IN :shapes AND s.name <> :name AND a.owner NOT IN ('', :owner)
    ORDER BY a.name LIMIT 1
    """,
    "shapes",
)
SET_LATEST = text(
    "UPDATE agents SET latest = :version, touched = :now WHERE namespace = :namespace AND name = :name"
)
SET_OWNER = text("UPDATE agents SET owner = :owner WHERE namespace = :namespace AND name = :name")
DROP_AGENT = text("DELETE FROM agents WHERE namespace = :namespace AND name = :name")

_ENTRY = """
    SELECT e.namespace, e.name, e.version, a.latest, e.health, a.source, a.owner, e.card, e.digest, e.updated
    FROM entries e JOIN agents a ON a.namespace = e.namespace AND a.name = e.name
"""
# SQLite looks up one column in an index for IN, but not three: without the names it would read the whole table.
ENTRIES = _of(
    _ENTRY
    + "WHERE e.namespace IN :namespaces AND e.name IN :names AND (e.namespace, e.name, e.version) IN :keys",
    "namespaces",
    "names",
    "keys",
)
ENTRY = text(_ENTRY + "WHERE e.namespace = :namespace AND e.name = :name AND e.version = :version")
LATEST = text(_ENTRY + "WHERE a.namespace = :namespace AND a.name = :name AND e.version = a.latest")
ENTRIES_OF_AGENT = text(_ENTRY + "WHERE e.namespace = :namespace AND e.name = :name")
FIRST_PAGE = text(_ENTRY + "ORDER BY e.namespace, e.name, e.version LIMIT :most")
NEXT_PAGE = text(
    _ENTRY
    + "WHERE (e.namespace, e.name, e.version) > (:namespace, :name, :version) "
    + "ORDER BY e.namespace, e.name, e.version LIMIT :most"
)

VERSIONS = text("SELECT version FROM entries WHERE namespace = :namespace AND name = :name")
ADD_ENTRY = text("""
    INSERT INTO entries (namespace, name, version, health, card, digest, updated)
    VALUES (:namespace, :name, :version, 'unknown', :card, :digest, :now)
""")
_KEY = "namespace = :namespace AND name = :name AND version = :version"
REPLACE_CARD = text(f"UPDATE entries SET card = :card, digest = :digest, updated = :now WHERE {_KEY}")
SET_HEALTH = text(
    f"UPDATE entries SET health = :health, updated = :now WHERE {_KEY} AND health <> :health RETURNING 1"
)
TOUCH = text(f"UPDATE entries SET updated = :now WHERE {_KEY}")
DROP_ENTRY = text(f"DELETE FROM entries WHERE {_KEY} RETURNING digest")

# -- instances
INSTANCES_OF_ENTRY = text("""
    SELECT id, url, interfaces FROM instances
    WHERE namespace = :namespace AND name = :name AND version = :version ORDER BY since, id
""")
INSTANCES = _of(
    """
    SELECT namespace, name, version, id, url, interfaces FROM instances
    WHERE namespace IN :namespaces AND name IN :names AND (namespace, name, version) IN :keys ORDER BY since, id
    """,
    "namespaces",
    "names",
    "keys",
)
ANNOUNCE = text("""
    INSERT INTO instances (namespace, name, version, id, url, interfaces, since, seen)
    VALUES (:namespace, :name, :version, :id, :url, :interfaces, :now, :now)
    ON CONFLICT (namespace, name, version, id)
    DO UPDATE SET url = excluded.url, interfaces = excluded.interfaces, seen = excluded.seen
""")
HEARTBEATS = _of(
    """
    UPDATE instances SET seen = :now WHERE (namespace, name, version, id) IN :beats
    RETURNING namespace, name, version, id
    """,
    "beats",
)
WITHDRAW = text(f"DELETE FROM instances WHERE {_KEY} AND id = :id RETURNING namespace, name, version")
ANY_EXPIRED = text("SELECT 1 FROM instances WHERE seen < :since LIMIT 1")
EXPIRE = text("DELETE FROM instances WHERE seen < :since RETURNING namespace, name, version")
HAS_INSTANCES = text(f"SELECT 1 FROM instances WHERE {_KEY} LIMIT 1")

# -- sources
SOURCES_DUE = text("""
    SELECT namespace, name, source FROM agents
    WHERE source <> '' AND next_look <= :now ORDER BY next_look LIMIT :most
""")
LOOKED = _of("UPDATE agents SET next_look = :next WHERE (namespace, name) IN :agents", "agents")
AGENTS_OF_SOURCE = text("SELECT name, latest FROM agents WHERE namespace = :namespace AND source = :url")

# -- rollouts
ROLLOUT = text("SELECT revision, content FROM rollouts WHERE namespace = :namespace AND name = :name")
SET_ROLLOUT = text("""
    INSERT INTO rollouts (namespace, name, revision, content) VALUES (:namespace, :name, :revision, :content)
    ON CONFLICT (namespace, name) DO UPDATE SET revision = excluded.revision, content = excluded.content
""")
DROP_ROLLOUT = text("DELETE FROM rollouts WHERE namespace = :namespace AND name = :name RETURNING revision")

# -- the log and the audit trail
LOG = text("""
    INSERT INTO changes (seq, kind, namespace, name, version) VALUES (:seq, :kind, :namespace, :name, :version)
""")
TRIM_LOG = text("DELETE FROM changes WHERE seq <= :before")
CHANGES = text(
    "SELECT seq, kind, namespace, name, version FROM changes WHERE seq > :after ORDER BY seq LIMIT :most"
)
LOG_ENDS = text("SELECT coalesce((SELECT min(seq) FROM changes), 0), seq FROM head")
LAST_CHANGE = text("SELECT seq FROM head")

AUDIT = text("""
    INSERT INTO audit (seq, at, actor, remote, action, namespace, name, version, before, after, detail)
    VALUES (:seq, :at, :actor, :remote, :action, :namespace, :name, :version, :before, :after, :detail)
""")
_AUDIT = "SELECT seq, at, actor, remote, action, namespace, name, version, before, after, detail FROM audit "
_AUDIT += "WHERE seq < :before AND :actor IN ('', actor) AND :action IN ('', action) "
_NEWEST = "ORDER BY seq DESC LIMIT :most"
AUDITED = text(_AUDIT + "AND :namespace IN ('', namespace) " + _NEWEST)
AUDITED_OF_AGENT = text(_AUDIT + "AND namespace = :namespace AND name = :name " + _NEWEST)
FORGET_AUDITED = text("DELETE FROM audit WHERE at < :since RETURNING seq")

# -- a copy of what another record holds
CHANGED_SINCE = text(
    "SELECT 1 FROM changes WHERE seq > :since AND namespace = :namespace AND name = :name LIMIT 1"
)
SET_SOURCE = text("UPDATE agents SET source = :source WHERE namespace = :namespace AND name = :name")
AGENT_NAMES = text("""
    SELECT namespace, name FROM agents WHERE source = '' AND latest <> '' ORDER BY namespace, name
""")
CLAIMED = _of(
    """
    SELECT owner FROM claims
    WHERE namespace = :namespace AND shape IN :shapes AND owner <> :owner AND until > :now LIMIT 1
    """,
    "shapes",
)
CLAIM = text("""
    INSERT INTO claims (namespace, shape, owner, until) VALUES (:namespace, :shape, :owner, :until)
    ON CONFLICT (namespace, shape) DO UPDATE SET owner = excluded.owner, until = excluded.until
""")
UNCLAIM = _of("DELETE FROM claims WHERE namespace = :namespace AND shape IN :shapes", "shapes")
SYNCED = text("SELECT synced FROM mirrors WHERE namespace = :namespace")
SET_SYNCED = text("""
    INSERT INTO mirrors (namespace, synced) VALUES (:namespace, :synced)
    ON CONFLICT (namespace) DO UPDATE SET synced = excluded.synced
    WHERE excluded.synced > mirrors.synced OR mirrors.synced > :latest
""")
