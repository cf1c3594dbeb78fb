"""Every statement of the SQLite store, by name. What it says of ranks and quotas is in `scheduling`."""

FIND_MESSAGE = "SELECT digest, task_id, generation, number FROM message WHERE owner = ? AND message_id = ?"
ADD_MESSAGE = "INSERT OR IGNORE INTO message VALUES(?, ?, ?, ?, ?, ?)"

TASK_HEAD = "SELECT owner, context_id, version, state, generation, epoch, visible, push, refusal, log_from FROM task WHERE id = ?"
ADD_TASK = """INSERT INTO task(id, owner, context_id, version, state, generation, epoch, visible, push, accepted, status_at)
 VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
SET_PUSH = "UPDATE task SET push = 1 WHERE id = ?"
# A context keeps the version it was born with, that of any task in it, unless it was moved to another.
PIN = """SELECT ifnull((SELECT version FROM pin WHERE owner = ?1 AND context_id = ?2),
 (SELECT version FROM task WHERE owner = ?1 AND context_id = ?2 LIMIT 1))"""

ADD_WORK = """INSERT INTO work(task_id, number, kind, state, version, worker, attempt, request, traceparent, accepted, started,
 message_id, tenant, priority, rank, expires) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# Whoever adds an entry that waits counts it; what becomes of it then, triggers count.
WAITS = "UPDATE waiting SET entries = entries + 1 WHERE priority = ?"
WORK_NUMBERS = "SELECT min(number), max(number), sum(state < 2), sum(state <= 0 AND kind = 'cancel') FROM work WHERE task_id = ?"
BUSY = "SELECT EXISTS(SELECT 1 FROM work WHERE task_id = ? AND state < 2)"
# Of the waiting entries of a task the first is ready, unless another runs.
ADMIT = """UPDATE work SET state = 0 WHERE state = -1 AND task_id = ?1
 AND number = (SELECT number FROM work WHERE task_id = ?1 AND state <= 0 ORDER BY number LIMIT 1)
 AND NOT EXISTS(SELECT 1 FROM work WHERE task_id = ?1 AND state = 1)"""
HOLD_BACK = "UPDATE work SET state = -1 WHERE task_id = ? AND state = 0"

LEASE = """UPDATE work SET state = 1, worker = ?, attempt = attempt + 1, started = ? WHERE task_id = ? AND number = ?
 RETURNING kind, version, attempt, request, traceparent, accepted, priority"""
NEXT_EPOCH = "UPDATE task SET epoch = epoch + 1 WHERE id = ? RETURNING epoch, owner, context_id"
CANCELS_OF = """SELECT c.task_id, c.number, t.epoch, t.owner, t.context_id FROM work c JOIN task t ON t.id = c.task_id
 WHERE c.state <= 0 AND c.kind = 'cancel'
 AND EXISTS(SELECT 1 FROM work r WHERE r.task_id = c.task_id AND r.state = 1 AND r.worker = ?)"""

HELD = """SELECT w.task_id, t.epoch FROM work w JOIN task t ON t.id = w.task_id
 WHERE w.state = 1 AND w.worker = ?"""

# -- scheduling
SCHEDULE = """SELECT rate, burst, backlog, weights, tokens, at,
 EXISTS(SELECT 1 FROM work WHERE state = 0 AND version = ?) FROM limits"""
WAITING = "SELECT sum(entries) FROM waiting WHERE priority < 8"
READY = """SELECT w.priority, w.rank, w.rank - ifnull(k.rank, 0), w.accepted, w.task_id, w.number, w.expires, w.tenant, w.version
 FROM work w LEFT JOIN clock k ON k.version = w.version AND k.priority = w.priority
 WHERE w.state = 0 AND w.version = ? ORDER BY w.priority DESC, w.rank, w.accepted LIMIT ?"""
EXPIRED = """SELECT task_id, number, version, priority, tenant FROM work
 WHERE state = 0 AND expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?"""
ANY_READY = "SELECT 1 FROM work WHERE state = 0 AND version = ? LIMIT 1"
ANY_CANCEL = "SELECT 1 FROM work WHERE state <= 0 AND kind = 'cancel' LIMIT 1"
# Each version with ready entries, by one step in the index; then those that nobody alive hosts, and that are this version's
# to run: with a rollout table, the current version has what is of versions that are not in it.
ORPHANS = """WITH RECURSIVE v(name) AS (
 SELECT min(version) FROM work WHERE state = 0
 UNION ALL SELECT (SELECT min(version) FROM work WHERE state = 0 AND version > v.name) FROM v WHERE v.name IS NOT NULL)
SELECT name FROM v WHERE name IS NOT NULL AND name <> ?1
 AND NOT EXISTS(SELECT 1 FROM worker o WHERE o.version = v.name AND o.lease_until >= ?2)
 AND (NOT EXISTS(SELECT 1 FROM rollout) OR (EXISTS(SELECT 1 FROM rollout WHERE version = ?1 AND state = 'Current')
  AND NOT EXISTS(SELECT 1 FROM rollout r WHERE r.version = v.name AND r.state <> 'Inactive')))"""
ROLLOUT = "SELECT version, state, weight FROM rollout ORDER BY position"
DROP_ROLLOUT = "DELETE FROM rollout"
ADD_ROLLOUT = "INSERT INTO rollout(position, version, state, weight) VALUES(?, ?, ?, ?)"
LIVE = "SELECT version, count(*) FROM worker WHERE lease_until >= ? GROUP BY version"
OPEN = """SELECT version, sum(working), sum(NOT working), count(DISTINCT owner || char(10) || context_id) FROM (
 SELECT t.version, t.owner, t.context_id, 1 AS working FROM task t
  WHERE t.id IN (SELECT task_id FROM work WHERE state = 0 UNION SELECT task_id FROM work WHERE state = 1)
 UNION ALL SELECT version, owner, context_id, 0 FROM task WHERE state IN (6, 8)
  AND NOT EXISTS(SELECT 1 FROM work WHERE task_id = task.id AND state < 2)) GROUP BY version"""
# What ended is in two indexes, by whether its log was compacted, each with all that is asked for.
ENDED = """SELECT version, state, sum(n) FROM (
 SELECT version, state, count(*) AS n FROM task WHERE ended IS NOT NULL AND compact = 0 AND ended >= ?1 GROUP BY version, state
 UNION ALL SELECT version, state, count(*) FROM task WHERE compact = 1 AND ended >= ?1 GROUP BY version, state)
 GROUP BY version, state"""
DURATIONS = tuple(
    f"""SELECT ended - accepted FROM task WHERE {which} AND ended >= ? AND version = ? AND state = 3 AND accepted > 0
 ORDER BY ended DESC LIMIT ?"""
    for which in ("ended IS NOT NULL AND compact = 0", "compact = 1")
)
# What is measured is found by one step in the index for each, however many values there are.
NEXT_MEASURED = """SELECT * FROM (SELECT version, name FROM measure WHERE version = ?1 AND name > ?2 ORDER BY name LIMIT 1)
 UNION ALL SELECT * FROM (SELECT version, name FROM measure WHERE version > ?1 ORDER BY version, name LIMIT 1)
 ORDER BY version, name LIMIT 1"""
MEASURES = "SELECT value FROM measure WHERE at >= ? AND version = ? AND name = ? ORDER BY at DESC LIMIT ?"
UNHOSTED = """SELECT version, count(*) FROM work w WHERE state = 0
 AND NOT EXISTS(SELECT 1 FROM worker o WHERE o.version = w.version AND o.lease_until >= ?) GROUP BY version"""
LAST_RANK = """SELECT (SELECT rank FROM clock WHERE version = ?1 AND priority = ?2),
 (SELECT rank FROM share WHERE version = ?1 AND priority = ?2 AND tenant = ?3)"""
CHARGE = """INSERT INTO share VALUES(?, ?, ?, ?, ?)
 ON CONFLICT DO UPDATE SET rank = excluded.rank, step = excluded.step"""
REFUND = "UPDATE share SET rank = rank - step WHERE version = ? AND priority = ? AND tenant = ?"
ADVANCE_CLOCK = "INSERT INTO clock VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET rank = max(rank, excluded.rank)"
SPEND = "UPDATE limits SET tokens = ?, at = ?"
LIMITS = "SELECT concurrency, rate, burst, backlog, weights FROM limits"
SET_LIMITS = (
    "UPDATE limits SET concurrency = ?, rate = ?, burst = ?, backlog = ?, weights = ?, tokens = ?, at = ?"
)
# What a tenant has had is forgotten when the clock has passed it: it would begin there anyway.
FORGET_SHARES = """DELETE FROM share WHERE rank + step <= (SELECT k.rank FROM clock k
 WHERE k.version = share.version AND k.priority = share.priority)"""
QUEUE_STATE = """SELECT (SELECT count(*) FROM work WHERE state = 1), (SELECT min(accepted) FROM work WHERE state = 0),
 rate, burst, tokens, at FROM limits"""
BY_PRIORITY = "SELECT priority, entries FROM waiting WHERE entries > 0"

REGISTER = (
    "INSERT INTO worker VALUES(?, ?, ?) ON CONFLICT(id) DO UPDATE SET lease_until = excluded.lease_until"
)
IN_USE = """SELECT EXISTS(SELECT 1 FROM worker WHERE version = :version AND lease_until >= :now)
 OR EXISTS(SELECT 1 FROM work WHERE state < 2 AND version = :version)"""
RETIRE = "DELETE FROM worker WHERE id = ?"
RELEASE = """UPDATE work SET state = -1, worker = '', attempt = attempt - 1, started = NULL
 WHERE state = 1 AND worker = ? RETURNING task_id"""
LOST_WORK = """SELECT w.task_id, w.number, w.worker, t.epoch FROM work w JOIN task t ON t.id = w.task_id WHERE w.state = 1
 AND NOT EXISTS(SELECT 1 FROM worker o WHERE o.id = w.worker AND o.lease_until >= ?)"""
# What has been begun has met its deadline.
FREE = (
    "UPDATE work SET state = -1, worker = '', expires = NULL WHERE task_id = ? AND number = ? AND state = 1"
)
# -- all that is open of a version goes to another
OPEN_OF = "SELECT id FROM task WHERE version = ? AND ended IS NULL"
UNTAKE_ALL = """UPDATE work SET state = -1, worker = '', attempt = attempt - 1, started = NULL WHERE task_id = ? AND state = 1"""
MOVE_WORK = "UPDATE work SET version = ? WHERE task_id = ? AND state < 2"
MOVE_TASK = "UPDATE task SET version = ?, epoch = epoch + 1 WHERE id = ?"
MOVE_PINS = (
    """INSERT INTO pin SELECT DISTINCT owner, context_id, ?2 FROM task WHERE version = ?1
 ON CONFLICT DO UPDATE SET version = excluded.version""",
    "UPDATE pin SET version = ?2 WHERE version = ?1",
)
UNTAKE = """UPDATE work SET state = -1, worker = '', attempt = attempt - 1, started = NULL
 WHERE task_id = ? AND number = ? AND state = 1"""
FENCE = "UPDATE task SET epoch = epoch + 1 WHERE id = ?"
ADD_TAKEOVER = "INSERT OR IGNORE INTO takeover VALUES(?, ?, ?, ?)"
DROP_DEAD_WORKERS = "DELETE FROM worker WHERE lease_until < ?"

ADD_EVENT = (
    "INSERT INTO event(task_id, generation, work, state, at, body, message) VALUES(?, ?, ?, ?, ?, ?, ?)"
)
# The fence: nothing happens under a stale epoch, out of order, or after the end.
ADVANCE = """UPDATE task SET state = ?, generation = ?, visible = ?, status_at = ifnull(?, status_at), ended = ?
 WHERE id = ? AND epoch = ? AND generation = ? AND state NOT IN (3, 4, 5, 7, 100, 101) RETURNING push"""
KEEP_SNAPSHOT = """INSERT INTO snapshot VALUES(?, ?, ?)
 ON CONFLICT(task_id) DO UPDATE SET generation = excluded.generation, body = excluded.body"""
KEEP_MEASURE = """INSERT INTO measure SELECT id, ?, version, ?, ? FROM task WHERE id = ?
 ON CONFLICT(task_id, name) DO UPDATE SET at = excluded.at, value = excluded.value"""
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

# -- retention. The newest event stays, whosever it is: sequence numbers are followed by other processes and must grow.
NEWEST = "SELECT task_id FROM event ORDER BY seq DESC LIMIT 1"
TO_COMPACT = "SELECT id, state FROM task WHERE ended IS NOT NULL AND ended < ? AND compact = 0 AND id <> ? ORDER BY ended LIMIT ?"
TO_FORGET = "SELECT id, owner FROM task WHERE ended < ? AND compact = 1 AND id <> ? ORDER BY ended LIMIT ?"
CUT_LOG = "UPDATE task SET log_from = generation + 1 WHERE id = ?"
DROP_EVENTS = "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE task_id = ? LIMIT ?)"
DROP_STEPS = "DELETE FROM step WHERE task_id = ?"
EMPTY_REQUESTS = "UPDATE work SET request = x'' WHERE task_id = ?"
COMPACTED = "UPDATE task SET compact = 1 WHERE id = ?"
FORGET_MESSAGES = """DELETE FROM message WHERE owner = ?1
 AND message_id IN (SELECT message_id FROM work WHERE task_id = ?2 AND kind = 'message')"""
FORGET = tuple(
    f"DELETE FROM {table} WHERE task_id = ?"
    for table in ("event", "snapshot", "step", "takeover", "push_config", "outbox", "measure", "work")
)
FORGET_TASK = "DELETE FROM task WHERE id = ?"
FORGET_PINS = """DELETE FROM pin
 WHERE NOT EXISTS(SELECT 1 FROM task WHERE owner = pin.owner AND context_id = pin.context_id)"""
RESIDENTS = """
SELECT agent, version, executor, EXISTS (SELECT 1 FROM worker w WHERE w.version = r.version AND w.lease_until >= ?)
 FROM resident r ORDER BY version
"""
MOVE_IN = """
INSERT INTO resident(agent, version, executor) VALUES (?, ?, ?) ON CONFLICT (version) DO UPDATE SET executor = excluded.executor
"""
