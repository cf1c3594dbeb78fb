"""The SQLite schema and every statement on it, by name."""

MIGRATIONS = (
    """
CREATE TABLE task(
  id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  context_id TEXT NOT NULL,
  version TEXT NOT NULL,
  state INTEGER NOT NULL DEFAULT 0,
  generation INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  visible INTEGER NOT NULL DEFAULT 0,
  push INTEGER NOT NULL DEFAULT 0,
  status_at REAL NOT NULL DEFAULT 0,
  refusal TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX task_listed ON task(owner, status_at DESC, id DESC) WHERE visible = 1;
CREATE INDEX task_context ON task(owner, context_id);
CREATE TABLE snapshot(
  task_id TEXT PRIMARY KEY,
  generation INTEGER NOT NULL,
  body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE event(
  seq INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL,
  generation INTEGER NOT NULL,
  work INTEGER NOT NULL,
  state INTEGER NOT NULL,
  at REAL NOT NULL,
  body BLOB NOT NULL,
  message BLOB NOT NULL
);
CREATE UNIQUE INDEX event_log ON event(task_id, generation);
CREATE TABLE message(
  owner TEXT NOT NULL,
  message_id TEXT NOT NULL,
  digest BLOB NOT NULL,
  task_id TEXT NOT NULL,
  generation INTEGER NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY(owner, message_id)
) WITHOUT ROWID;
CREATE TABLE work(
  task_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  kind TEXT NOT NULL,
  state INTEGER NOT NULL DEFAULT 0,
  version TEXT NOT NULL,
  worker TEXT NOT NULL DEFAULT '',
  attempt INTEGER NOT NULL DEFAULT 0,
  request BLOB NOT NULL,
  traceparent TEXT NOT NULL,
  accepted REAL NOT NULL,
  started REAL,
  ended REAL,
  PRIMARY KEY(task_id, number)
) WITHOUT ROWID;
CREATE INDEX work_waiting ON work(accepted) WHERE state = 0;
CREATE INDEX work_running ON work(worker) WHERE state = 1;
CREATE INDEX work_cancels ON work(task_id) WHERE state = 0 AND kind = 'cancel';
CREATE TABLE worker(
  id TEXT PRIMARY KEY,
  version TEXT NOT NULL,
  lease_until REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE takeover(
  task_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  worker TEXT NOT NULL,
  at REAL NOT NULL,
  PRIMARY KEY(task_id, epoch)
) WITHOUT ROWID;
CREATE TABLE step(
  task_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  name TEXT NOT NULL,
  result BLOB NOT NULL,
  started REAL NOT NULL,
  ended REAL NOT NULL,
  PRIMARY KEY(task_id, number, name)
) WITHOUT ROWID;
CREATE TABLE push_config(
  task_id TEXT NOT NULL,
  id TEXT NOT NULL,
  owner TEXT NOT NULL,
  url TEXT NOT NULL,
  body BLOB NOT NULL,
  created REAL NOT NULL,
  PRIMARY KEY(task_id, id)
) WITHOUT ROWID;
CREATE TABLE outbox(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  task_id TEXT NOT NULL,
  config_id TEXT NOT NULL,
  generation INTEGER NOT NULL,
  body BLOB NOT NULL,
  traceparent TEXT NOT NULL DEFAULT '',
  created REAL NOT NULL,
  not_before REAL NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  lease_until REAL NOT NULL DEFAULT 0,
  lease_owner TEXT NOT NULL DEFAULT '',
  last_error TEXT NOT NULL DEFAULT '',
  state INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX outbox_due ON outbox(not_before) WHERE state = 0;
CREATE INDEX outbox_order ON outbox(task_id, config_id, id);
""",
    """
CREATE TABLE parked(
  seq INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL
);
""",
)

FIND_MESSAGE = "SELECT digest, task_id, generation, number FROM message WHERE owner = ? AND message_id = ?"
ADD_MESSAGE = "INSERT OR IGNORE INTO message VALUES(?, ?, ?, ?, ?, ?)"

TASK_HEAD = "SELECT owner, context_id, version, state, generation, epoch, visible, push, refusal FROM task WHERE id = ?"
ADD_TASK = """INSERT INTO task(id, owner, context_id, version, state, generation, epoch, visible, push, status_at)
 VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
SET_PUSH = "UPDATE task SET push = 1 WHERE id = ?"
# A context keeps the version it was born with: that of any task in it.
PIN = "SELECT version FROM task WHERE owner = ? AND context_id = ? LIMIT 1"

ADD_WORK = """INSERT INTO work(task_id, number, kind, state, version, worker, attempt, request, traceparent, accepted, started)
 VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
WORK_NUMBERS = "SELECT min(number), max(number), sum(state < 2), sum(state = 0 AND kind = 'cancel') FROM work WHERE task_id = ?"
BUSY = "SELECT EXISTS(SELECT 1 FROM work WHERE task_id = ? AND state < 2)"

# An entry can be taken when no other of its task runs or stands before it, and it is of this worker's version or of
# one that nobody alive hosts.
TAKEABLE = """SELECT w.task_id, w.number FROM work w WHERE w.state = 0
 AND (w.version = :version OR NOT EXISTS(SELECT 1 FROM worker o WHERE o.version = w.version AND o.lease_until >= :now))
 AND NOT EXISTS(SELECT 1 FROM work x WHERE x.task_id = w.task_id AND x.state < 2 AND (x.state = 1 OR x.number < w.number))
 ORDER BY w.accepted LIMIT :limit"""
LEASE = """UPDATE work SET state = 1, worker = ?, attempt = attempt + 1, started = ?
 WHERE task_id = ? AND number = ? RETURNING kind, version, attempt, request, traceparent, accepted"""
NEXT_EPOCH = "UPDATE task SET epoch = epoch + 1 WHERE id = ? RETURNING epoch, owner, context_id"
CANCELS_OF = """SELECT c.task_id, c.number, t.epoch, t.owner, t.context_id FROM work c JOIN task t ON t.id = c.task_id
 WHERE c.state = 0 AND c.kind = 'cancel'
 AND EXISTS(SELECT 1 FROM work r WHERE r.task_id = c.task_id AND r.state = 1 AND r.worker = ?)"""

HELD = """SELECT w.task_id, t.epoch FROM work w JOIN task t ON t.id = w.task_id
 WHERE w.state = 1 AND w.worker = ?"""

REGISTER = (
    "INSERT INTO worker VALUES(?, ?, ?) ON CONFLICT(id) DO UPDATE SET lease_until = excluded.lease_until"
)
RETIRE = "DELETE FROM worker WHERE id = ?"
RELEASE = """UPDATE work SET state = 0, worker = '', attempt = attempt - 1, started = NULL
 WHERE state = 1 AND worker = ? RETURNING task_id"""
LOST_WORK = """SELECT w.task_id, w.number, w.worker, t.epoch FROM work w JOIN task t ON t.id = w.task_id WHERE w.state = 1
 AND NOT EXISTS(SELECT 1 FROM worker o WHERE o.id = w.worker AND o.lease_until >= ?)"""
FREE = "UPDATE work SET state = 0, worker = '' WHERE task_id = ? AND number = ? AND state = 1"
UNTAKE = """UPDATE work SET state = 0, worker = '', attempt = attempt - 1, started = NULL
 WHERE task_id = ? AND number = ? AND state = 1"""
ADD_TAKEOVER = "INSERT OR IGNORE INTO takeover VALUES(?, ?, ?, ?)"
DROP_DEAD_WORKERS = "DELETE FROM worker WHERE lease_until < ?"

ADD_EVENT = (
    "INSERT INTO event(task_id, generation, work, state, at, body, message) VALUES(?, ?, ?, ?, ?, ?, ?)"
)
# The fence: nothing happens under a stale epoch, out of order, or after the end.
ADVANCE = """UPDATE task SET state = ?, generation = ?, visible = ?, status_at = ifnull(?, status_at)
 WHERE id = ? AND epoch = ? AND generation = ? AND state NOT IN (3, 4, 5, 7, 100, 101) RETURNING push"""
KEEP_SNAPSHOT = """INSERT INTO snapshot VALUES(?, ?, ?)
 ON CONFLICT(task_id) DO UPDATE SET generation = excluded.generation, body = excluded.body"""
END_ALL_WORK = "UPDATE work SET state = 2, ended = ? WHERE task_id = ? AND state < 2"
END_WORK = "UPDATE work SET state = 2, ended = ? WHERE task_id = ? AND number = ?"
SET_REFUSAL = "UPDATE task SET refusal = ? WHERE id = ?"
ADD_OUTBOX = """INSERT INTO outbox(task_id, config_id, generation, body, traceparent, created, not_before)
 SELECT task_id, id, ?, ?, ?, ?, 0 FROM push_config WHERE task_id = ?"""
OTHER_CONFIGS = "SELECT count(*) FROM push_config WHERE task_id = ? AND id <> ?"
ADD_PUSH_CONFIG = "INSERT OR REPLACE INTO push_config VALUES(?, ?, ?, ?, ?, ?)"

ADD_STEP = "INSERT OR IGNORE INTO step VALUES(?, ?, ?, ?, ?, ?)"
STEPS = "SELECT name, result, started, ended FROM step WHERE task_id = ? AND number = ? ORDER BY ended"
ALL_STEPS = "SELECT name, result, started, ended FROM step WHERE task_id = ? ORDER BY started"

SNAPSHOT = "SELECT generation, body FROM snapshot WHERE task_id = ?"
TAIL = "SELECT body, message FROM event WHERE task_id = ? AND generation > ? ORDER BY generation"
EVENTS = """SELECT generation, body, state, at, work FROM event WHERE task_id = ? AND generation > ?
 ORDER BY generation LIMIT ?"""
NEW_EVENTS = (
    """SELECT seq, task_id, generation, body, state, at, work FROM event WHERE seq > ? ORDER BY seq LIMIT ?"""
)
LAST_SEQ = "SELECT ifnull(max(seq), 0) FROM event"
# Work that ended without an event: readers in other processes learn of it here.
ADD_PARKED = "INSERT INTO parked(task_id) VALUES(?)"
NEW_PARKED = "SELECT seq, task_id FROM parked WHERE seq > ? ORDER BY seq"
LAST_PARKED = "SELECT ifnull(max(seq), 0) FROM parked"
DROP_PARKED = "DELETE FROM parked WHERE seq < (SELECT max(seq) FROM parked) - 1000"
WORK_HISTORY = """SELECT number, kind, version, worker, attempt, accepted, started, ended, traceparent FROM work
 WHERE task_id = ? ORDER BY accepted"""
TAKEOVERS = "SELECT epoch, worker, at FROM takeover WHERE task_id = ? ORDER BY epoch"
QUEUE_STATE = """SELECT (SELECT count(*) FROM work WHERE state = 0), (SELECT count(*) FROM work WHERE state = 1),
 (SELECT min(accepted) FROM work WHERE state = 0)"""
