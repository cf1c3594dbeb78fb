"""Every statement of the PostgreSQL store on its hot path, by name. Each does all that is pending at once (unnest).

Locks are always taken in the order task, then queue, work and the rest; TAKE and SWEEP, which find tasks by their queue
rows, skip what is locked. So no two statements wait for each other.
"""

ENDED = "(3, 4, 5, 7, 100, 101)"


def accept(*, named: bool, shown: bool) -> str:
    """The statement that accepts new tasks; narrower, and so quicker to start, when no message names a context (`named`)
    or none is shown at once (`shown`).

    $1 is the messages, $2 the worker that takes what it may, $3 the limit of the backlog (0: none).
    A message that is not in the answer was accepted before, or comes in at this moment elsewhere, or finds the backlog full.
    """
    return f"""
WITH i AS (
 SELECT *, ordinality AS n FROM unnest($1::new_message[]) WITH ORDINALITY
  WHERE $3::bigint = 0 OR (SELECT coalesce(sum(delta), 0) FROM depth) < $3::bigint),
{_PINNED if named else _UNPINNED}
head AS (
 SELECT v.at_version, v.priority, coalesce(
   (SELECT q.rank FROM queue q WHERE q.worker = '' AND q.version = v.at_version AND q.priority = v.priority
     ORDER BY q.rank LIMIT 1), (SELECT clock FROM quota)) AS rank
  FROM (SELECT DISTINCT at_version, priority FROM f) v),
share AS (
 SELECT t.tenant, t.priority,
   (SELECT w.rank FROM work w WHERE w.tenant = t.tenant AND w.priority = t.priority ORDER BY w.rank DESC LIMIT 1) AS rank
  FROM (SELECT DISTINCT tenant, priority FROM f) t),
ranked AS (
 SELECT f.*, greatest(h.rank, s.rank + f.cost)
   + sum(f.cost) OVER (PARTITION BY f.tenant, f.priority ORDER BY f.n) - f.cost AS rank
  FROM f JOIN head h ON h.at_version = f.at_version AND h.priority = f.priority
  JOIN share s ON s.tenant = f.tenant AND s.priority = f.priority),
entry AS (
 INSERT INTO work(task_id, number, kind, state, version, owner, message_id, digest, generation, worker, attempt, priority,
   tenant, rank, request, traceparent, accepted, expires, started)
  SELECT task_id, 1, 'message', CASE WHEN taken THEN 1 ELSE 0 END, at_version, owner, message_id, digest,
   CASE WHEN state IS NULL THEN 0 ELSE 1 END, CASE WHEN taken THEN $2::text ELSE '' END, CASE WHEN taken THEN 1 ELSE 0 END,
   priority, tenant, rank, request, traceparent, now_s(), now_s() + expires_in, CASE WHEN taken THEN now_s() END FROM ranked
  ON CONFLICT (owner, message_id) WHERE message_id <> '' DO NOTHING RETURNING task_id),
made AS (SELECT r.* FROM ranked r JOIN entry e ON e.task_id = r.task_id),
tasks AS (
 INSERT INTO task(id, owner, context_id, version, state, generation, epoch, visible, status_at, accepted)
  SELECT task_id, owner, context_id, at_version, coalesce(state, 0), CASE WHEN state IS NULL THEN 0 ELSE 1 END,
   CASE WHEN taken THEN 1 ELSE 0 END, state IS NOT NULL, coalesce(status_at, now_s()), now_s() FROM made),
{_SHOWN if shown else ""}
queued AS (
 INSERT INTO queue(task_id, number, version, priority, rank, since, expires, worker, held)
  SELECT task_id, 1, at_version, priority, rank, now_s(), now_s() + expires_in,
   CASE WHEN taken THEN $2::text ELSE '' END, CASE WHEN taken THEN now_s() ELSE 0 END FROM made)
SELECT n, task_id, context_id, CASE WHEN state IS NULL THEN 0 ELSE 1 END AS generation, at_version, taken, now_s() AS now
 FROM made
"""


_UNPINNED = "f AS (SELECT i.*, i.version AS at_version, i.wanted AS taken FROM i),"
_PINNED = """
seen AS (
 SELECT i.*, CASE WHEN i.named <> '' THEN coalesce(
   (SELECT p.version FROM pin p WHERE p.owner = i.owner AND p.context_id = i.named),
   (SELECT t.version FROM task t WHERE t.owner = i.owner AND t.context_id = i.named LIMIT 1)) END AS pinned FROM i),
pins AS (
 INSERT INTO pin SELECT DISTINCT ON (owner, named) owner, named, version FROM seen
  WHERE named <> '' AND pinned IS NULL ORDER BY owner, named, n
  ON CONFLICT (owner, context_id) DO UPDATE SET version = pin.version RETURNING owner, context_id, version),
f AS (
 SELECT s.*, coalesce(s.pinned, p.version, s.version) AS at_version,
   s.wanted AND coalesce(s.pinned, p.version, s.version) = s.version AS taken
  FROM seen s LEFT JOIN pins p ON p.owner = s.owner AND p.context_id = s.named),
"""
_SHOWN = """
events AS (
 INSERT INTO event SELECT task_id, 1, 1, state, now_s(), body, message FROM made WHERE state IS NOT NULL),
snapshots AS (INSERT INTO snapshot SELECT task_id, 1, snapshot FROM made WHERE state IS NOT NULL),
"""

ACCEPT = {
    (named, shown): accept(named=named, shown=shown) for named in (False, True) for shown in (False, True)
}

# $1 worker, $2 version, $3 how many.
TAKE = """
WITH q AS (
 SELECT task_id, number, rank, expires <= now_s() AS expired FROM queue WHERE worker = '' AND version = $2
  ORDER BY priority DESC, rank, since LIMIT $3 FOR UPDATE SKIP LOCKED),
"""
TAKE_EXPIRED = """
WITH q AS (
 SELECT task_id, number, 0::float8 AS rank, true AS expired FROM queue WHERE worker = '' AND expires <= now_s()
  ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED),
"""
# An entry that came in so lately that this statement does not see it yet is left for the next time.
_LEASE = """
l AS (SELECT t.id FROM task t JOIN q ON q.task_id = t.id FOR UPDATE OF t SKIP LOCKED),
w AS (UPDATE work SET state = 1, worker = $1, attempt = work.attempt + 1, started = now_s() FROM q JOIN l ON l.id = q.task_id
  WHERE work.task_id = q.task_id AND work.number = q.number AND work.state = 0
  RETURNING work.task_id, work.number, work.kind, work.version, work.request, work.traceparent, work.attempt, work.accepted,
   work.priority, q.rank, coalesce(q.expired AND work.kind = 'message' AND work.attempt = 1, false) AS expired),
k AS (UPDATE task t SET epoch = t.epoch + 1 FROM w WHERE t.id = w.task_id
  RETURNING t.id, t.epoch, t.owner, t.context_id, t.generation),
u AS (UPDATE queue SET worker = $1, held = now_s() FROM w WHERE queue.task_id = w.task_id)
SELECT w.*, k.epoch, k.owner, k.context_id, k.generation FROM w JOIN k ON k.id = w.task_id
 ORDER BY w.priority DESC, w.rank, w.accepted
"""
TAKE += _LEASE
# Requests to cancel alone; a condition of its own, so that the index finds them before however many messages.
TAKE_CANCELS = TAKE.replace("version = $2", "version = $2 AND priority > 7", 1)
TAKE_EXPIRED += _LEASE

# The fence: nothing happens under a stale epoch, out of order, or after the end. What `moved` was changed between the moment
# that this statement sees and its lock: the configurations, or the work, that came with that are not seen, and it is to be
# done again. $1 one row a task, $2 one an event.
APPEND = f"""
WITH a AS (SELECT * FROM unnest($1::new_append[])),
got AS (
 SELECT a.*, t.push, t.ctid <> (SELECT s.ctid FROM task s WHERE s.id = a.task_id) AS moved FROM task t JOIN a ON a.task_id = t.id
  WHERE t.epoch = a.epoch AND t.generation = a.first - 1 AND t.state NOT IN {ENDED} ORDER BY t.id FOR UPDATE OF t),
ok AS (SELECT * FROM got WHERE NOT moved),
v AS (
 SELECT v.task_id, v.generation, ok.number, v.state, v.body, v.message, ok.push AND v.state <> 101 AS push, ok.traceparent
  FROM unnest($2::new_event[]) v JOIN ok ON ok.task_id = v.task_id),
e AS (INSERT INTO event SELECT task_id, generation, number, state, now_s(), body, message FROM v),
t AS (
 UPDATE task SET state = ok.state, generation = ok.last, visible = ok.shown, status_at = coalesce(ok.status_at, task.status_at),
   ended_at = CASE WHEN ok.ends THEN now_s() END FROM ok WHERE task.id = ok.task_id),
s AS (
 INSERT INTO snapshot SELECT task_id, last, snapshot FROM ok WHERE snapshot IS NOT NULL
  ON CONFLICT (task_id) DO UPDATE SET generation = excluded.generation, body = excluded.body),
d AS (DELETE FROM queue USING ok WHERE queue.task_id = ok.task_id AND ok.ends),
w AS (UPDATE work SET state = 2, ended = now_s() FROM ok WHERE work.task_id = ok.task_id AND ok.ends AND work.state < 2),
o AS (
 INSERT INTO outbox(task_id, config_id, generation, body, traceparent, created)
  SELECT c.task_id, c.id, v.generation, v.body, v.traceparent, now_s() FROM v JOIN push_config c ON c.task_id = v.task_id
  WHERE v.push ORDER BY c.task_id, c.id, v.generation)
SELECT task_id, push AND state <> 101 AS push, now_s() AS now, moved FROM got
"""
# What of the appends whose outcome is unknown was committed after all: nobody else writes under these epochs.
APPENDED = """
SELECT t.id AS task_id, t.push AND t.state <> 101 AS push, e.at AS now, false AS moved
 FROM unnest($1::text[], $2::int[], $3::int[]) AS a(task_id, epoch, last)
 JOIN task t ON t.id = a.task_id AND t.epoch = a.epoch AND t.generation = a.last
 JOIN event e ON e.task_id = t.id AND e.generation = a.last
"""

LOAD = """
SELECT t.id, t.context_id, t.owner, t.state, t.generation, t.visible, t.version, t.refusal, t.log_from,
  EXISTS (SELECT FROM queue q WHERE q.task_id = t.id) AS busy, coalesce(s.body, '') AS body, coalesce(s.generation, 0) AS at,
  v.bodies, v.messages
 FROM task t LEFT JOIN snapshot s ON s.task_id = t.id
 LEFT JOIN LATERAL (SELECT array_agg(e.body ORDER BY e.generation) AS bodies, array_agg(e.message ORDER BY e.generation) AS messages
  FROM event e WHERE e.task_id = t.id AND e.generation > coalesce(s.generation, 0)) v ON t.generation > coalesce(s.generation, 0)
 WHERE t.id = ANY($1::text[])
"""

# -- in transactions of several statements, after LOCK

LOCK = "SELECT id, owner, context_id, version, state, generation, epoch FROM task WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE"
# Makes the queue's rows of tasks right again after their work has changed: held by what runs, else what is next waits.
# Of a task that has ended nothing waits, although an entry may have come in too late for its end to see it.
SETTLE = """
WITH n AS (
 SELECT DISTINCT ON (task_id) * FROM work WHERE task_id = ANY($1::text[]) AND state < 2
   AND task_id NOT IN (SELECT id FROM task WHERE id = ANY($1::text[]) AND ended_at IS NOT NULL)
  ORDER BY task_id, (state = 1) DESC, (state = 1 AND number < 0), number),
p AS (SELECT task_id, min(number) AS number FROM work WHERE task_id = ANY($1::text[]) AND state = 0 AND kind = 'cancel' GROUP BY task_id),
d AS (DELETE FROM queue WHERE task_id = ANY($1::text[]) AND NOT EXISTS (SELECT FROM n WHERE n.task_id = queue.task_id))
INSERT INTO queue AS q (task_id, number, version, priority, rank, since, expires, worker, held, cancel)
 SELECT n.task_id, n.number, n.version, CASE WHEN n.kind = 'cancel' THEN 8 ELSE n.priority END, n.rank, n.accepted, n.expires,
  CASE WHEN n.state = 1 THEN n.worker ELSE '' END, 0, CASE WHEN n.state = 1 THEN p.number END
 FROM n LEFT JOIN p ON p.task_id = n.task_id ORDER BY n.task_id
 ON CONFLICT (task_id) DO UPDATE SET number = excluded.number, priority = excluded.priority, rank = excluded.rank,
  since = excluded.since, expires = excluded.expires, worker = excluded.worker, cancel = excluded.cancel
 RETURNING task_id, worker = '' AS waiting
"""
END_WORK = """
UPDATE work SET state = 2, ended = now_s() FROM unnest($1::text[], $2::int[]) AS u(task_id, number)
 WHERE work.task_id = u.task_id AND work.number = u.number AND work.state < 2
"""
SET_REFUSAL = "UPDATE task SET refusal = $2 WHERE id = $1"
# What has been begun has met its deadline.
FREE = """
UPDATE work SET state = 0, worker = '', attempt = attempt - $3::int, started = CASE WHEN $3::int = 0 THEN started END,
  expires = CASE WHEN $3::int = 0 THEN NULL ELSE expires END
 WHERE task_id = $1 AND number = $2 AND state = 1
"""
FREE_ALL = """
UPDATE work SET state = 0, worker = '', attempt = attempt - $2::int, started = CASE WHEN $2::int = 0 THEN started END,
  expires = CASE WHEN $2::int = 0 THEN NULL ELSE expires END
 WHERE task_id = ANY($1::text[]) AND state = 1
"""
# Entries for tasks that are there, each with its place among its tenant's and everybody's (as in ACCEPT). $1 … $14 are columns.
ADD_WORK = """
WITH i AS (
 SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::int[],
  $9::smallint[], $10::text[], $11::float8[], $12::bytea[], $13::text[], $14::float8[]) WITH ORDINALITY
  AS u(task_id, number, kind, version, owner, message_id, digest, generation, priority, tenant, cost, request, traceparent,
   expires_in, n))
INSERT INTO work(task_id, number, kind, version, owner, message_id, digest, generation, priority, tenant, rank, request,
  traceparent, accepted, expires)
 SELECT task_id, number, kind, version, owner, message_id, digest, generation, priority, tenant, greatest(
   coalesce((SELECT q.rank FROM queue q WHERE q.worker = '' AND q.version = i.version AND q.priority = i.priority
     ORDER BY q.rank LIMIT 1), (SELECT clock FROM quota)),
   (SELECT w.rank FROM work w WHERE w.tenant = i.tenant AND w.priority = i.priority ORDER BY w.rank DESC LIMIT 1) + cost)
   + sum(cost) OVER (PARTITION BY tenant, priority ORDER BY n) - cost,
  request, traceparent, now_s(), now_s() + expires_in FROM i
 ON CONFLICT (owner, message_id) WHERE message_id <> '' DO NOTHING RETURNING owner, message_id
"""
NUMBERS = """
SELECT task_id, min(number) AS first, max(number) AS last, bool_or(kind = 'cancel' AND state = 0) AS cancelling,
  count(*) FILTER (WHERE kind = 'message' AND state = 0) AS behind
 FROM work WHERE task_id = ANY($1::text[]) GROUP BY task_id
"""
FIND_MESSAGES = """
SELECT u.n, w.digest, w.task_id, w.generation, w.number, t.context_id
 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u(owner, message_id, n)
 JOIN work w ON w.owner = u.owner AND w.message_id = u.message_id AND w.message_id <> '' JOIN task t ON t.id = w.task_id
"""
WAITING = "SELECT coalesce(sum(delta), 0)::bigint FROM depth"
ADD_PUSH = """
INSERT INTO push_config VALUES ($1, $2, $3, $4, $5, now_s())
 ON CONFLICT (task_id, id) DO UPDATE SET owner = excluded.owner, url = excluded.url, body = excluded.body, created = excluded.created
"""
OTHER_CONFIGS = "SELECT count(*) FROM push_config WHERE task_id = $1 AND id <> $2"
SET_PUSH = "UPDATE task SET push = true WHERE id = $1"
PUSH_FIRST = """
INSERT INTO outbox(task_id, config_id, generation, body, traceparent, created)
 SELECT c.task_id, c.id, 1, $2, $3, now_s() FROM push_config c WHERE c.task_id = $1
"""

CANCELS_OF = """
SELECT q.task_id, q.cancel AS number FROM queue q WHERE q.worker = $1 AND q.cancel IS NOT NULL
"""
TAKE_CANCEL = """
UPDATE work w SET state = 1, worker = $1, attempt = w.attempt + 1, started = now_s() FROM queue q, task t
 WHERE q.worker = $1 AND q.task_id = w.task_id AND t.id = w.task_id
  AND (w.task_id, w.number) IN (SELECT * FROM unnest($2::text[], $3::int[])) AND w.state = 0
 RETURNING w.task_id, w.number, w.kind, w.version, w.request, w.traceparent, w.attempt, w.accepted, w.priority, w.rank,
  false AS expired, t.epoch, t.owner, t.context_id, t.generation
"""

RENEW = """
INSERT INTO worker VALUES ($1, $2, now_s() + $3::float8) ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
"""
IN_USE = """
SELECT EXISTS (SELECT FROM worker WHERE version = $1 AND lease_until >= now_s()) OR EXISTS (SELECT FROM queue WHERE version = $1)
"""
RETIRE = "DELETE FROM worker WHERE id = $1"
HELD_BY = "SELECT task_id FROM queue WHERE worker = $1"
HELD = "SELECT t.id, t.epoch FROM queue q JOIN task t ON t.id = q.task_id WHERE q.worker = $1"
TOUCH = "UPDATE quota SET clock = clock"
HELD_LONG = """
SELECT q.task_id, t.epoch, q.held < now_s() - $2::float8 AS long FROM queue q JOIN task t ON t.id = q.task_id
 WHERE q.worker = $1
"""
LOST = """
SELECT t.id, t.epoch, q.worker FROM queue q JOIN task t ON t.id = q.task_id
 WHERE q.worker <> '' AND NOT EXISTS (SELECT FROM worker o WHERE o.id = q.worker AND o.lease_until >= now_s())
 LIMIT 500 FOR UPDATE OF t SKIP LOCKED
"""
# Under the lock of their tasks: who was lost may have been another, whose task has been taken since.
STILL_LOST = """
SELECT q.task_id, q.worker FROM queue q WHERE q.task_id = ANY($1::text[]) AND q.worker <> ''
 AND NOT EXISTS (SELECT FROM worker o WHERE o.id = q.worker AND o.lease_until >= now_s())
"""
# Whoever comes back from the dead is fenced at once, and not only when the next has taken its task.
FENCE = """
WITH t AS (UPDATE task SET epoch = epoch + 1 FROM unnest($1::text[], $2::text[]) AS u(id, worker) WHERE task.id = u.id
 RETURNING task.id, task.epoch, u.worker)
INSERT INTO takeover SELECT id, epoch - 1, worker, now_s() FROM t ON CONFLICT DO NOTHING
"""
DROP_DEAD_WORKERS = "DELETE FROM worker WHERE lease_until < now_s() - 60"

RESIDENTS = """
SELECT agent, version, executor, EXISTS (SELECT FROM worker w WHERE w.version = r.version AND w.lease_until >= now_s()) AS live
 FROM resident r ORDER BY version
"""
MOVING_IN = "LOCK TABLE resident IN SHARE ROW EXCLUSIVE MODE"
MOVE_IN = """
INSERT INTO resident AS r (agent, version, executor) SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM resident WHERE agent <> $1)
 ON CONFLICT (version) DO UPDATE SET executor = excluded.executor
  WHERE NOT EXISTS (SELECT FROM worker w WHERE w.version = r.version AND w.lease_until >= now_s())
"""

ADD_STEP = """
INSERT INTO step SELECT $1, $3, $4, $5, $6, $7 FROM task WHERE id = $1 AND epoch = $2 FOR SHARE ON CONFLICT DO NOTHING
"""
STEPS = "SELECT name, result, started, ended FROM step WHERE task_id = $1 AND number = $2 ORDER BY ended"
ALL_STEPS = "SELECT name, result, started, ended FROM step WHERE task_id = $1 ORDER BY started"
GENERATIONS = "SELECT id, generation FROM task WHERE id = ANY($1::text[])"
EVENTS = """
SELECT generation, body, state, at, work FROM event WHERE task_id = $1 AND generation > $2 ORDER BY generation LIMIT $3
"""
WORK_HISTORY = """
SELECT number, kind, version, worker, attempt, accepted, started, ended, traceparent FROM work WHERE task_id = $1 ORDER BY accepted
"""
TAKEOVERS = "SELECT epoch, worker, at FROM takeover WHERE task_id = $1 ORDER BY epoch"
QUEUE_STATE = """
SELECT (SELECT coalesce(jsonb_object_agg(priority, n), '{}') FROM (SELECT priority, sum(delta) n FROM depth GROUP BY priority) d
  WHERE n <> 0), (SELECT count(*) FROM queue WHERE worker <> ''),
 (SELECT since FROM queue WHERE worker = '' ORDER BY since LIMIT 1), now_s(), tokens, refilled FROM quota
"""

# -- upkeep

FOLD = """
WITH d AS (DELETE FROM depth WHERE ctid = ANY(ARRAY(SELECT ctid FROM depth LIMIT 10000 FOR UPDATE SKIP LOCKED)) RETURNING version, priority, delta)
INSERT INTO depth SELECT version, priority, sum(delta) FROM d GROUP BY version, priority HAVING sum(delta) <> 0
"""
# Whose work nobody alive does, and that is this version's to do: with a rollout table, the current version has what is of
# versions that are not in it, or Inactive.
ORPHANS = """
(SELECT version FROM depth WHERE NOT EXISTS (SELECT FROM rollout)
  OR EXISTS (SELECT FROM rollout WHERE version = $1 AND state = 'Current') GROUP BY version HAVING sum(delta) > 0
 EXCEPT SELECT version FROM worker WHERE lease_until >= now_s())
EXCEPT SELECT version FROM rollout WHERE state <> 'Inactive'
"""
ROLLOUT = "SELECT version, state, weight FROM rollout ORDER BY position"
SETTING_ROLLOUT = "LOCK TABLE rollout IN SHARE ROW EXCLUSIVE MODE"
DROP_ROLLOUT = "DELETE FROM rollout"
ADD_ROLLOUT = """
INSERT INTO rollout(position, version, state, weight) SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::float8[])
"""
OPEN_OF = "SELECT id FROM task WHERE version = $1 AND ended_at IS NULL"
MOVE = (
    "UPDATE work SET version = $2 WHERE task_id = ANY($1::text[]) AND state < 2",
    "UPDATE task SET version = $2, epoch = epoch + 1 WHERE id = ANY($1::text[])",
    "UPDATE queue SET version = $2 WHERE task_id = ANY($1::text[])",
)
MOVE_PINS = (
    """INSERT INTO pin SELECT DISTINCT owner, context_id, $2 FROM task WHERE version = $1 ORDER BY owner, context_id
 ON CONFLICT (owner, context_id) DO UPDATE SET version = excluded.version""",
    "UPDATE pin SET version = $2 WHERE version = $1",
)
LIVE = "SELECT version, count(*) FROM worker WHERE lease_until >= now_s() GROUP BY version"
OPEN = """
SELECT version, count(*) FILTER (WHERE working), count(*) FILTER (WHERE NOT working), count(DISTINCT (owner, context_id)) FROM (
 SELECT t.version, t.owner, t.context_id, true AS working FROM queue q JOIN task t ON t.id = q.task_id
 UNION ALL SELECT version, owner, context_id, false FROM task WHERE state IN (6, 8)
  AND NOT EXISTS (SELECT FROM queue q WHERE q.task_id = task.id)) o GROUP BY version
"""
ENDED_BY = """
SELECT version, state, count(*) FROM task WHERE ended_at IS NOT NULL AND ended_at >= now_s() - $1::float8 GROUP BY version, state
"""
DURATIONS = """
SELECT greatest(0, ended_at - accepted) AS seconds FROM task
 WHERE ended_at IS NOT NULL AND ended_at >= now_s() - $1::float8 AND version = $2 AND state = 3 AND accepted IS NOT NULL
 ORDER BY ended_at DESC LIMIT $3
"""
# What is measured is found by one step in the index for each, however many values there are.
NEXT_MEASURED = """
SELECT version, name FROM measure WHERE (version, name) > ($1::text, $2::text) ORDER BY version, name LIMIT 1
"""
MEASURES = """
SELECT value FROM measure WHERE at >= now_s() - $1::float8 AND version = $2 AND name = $3 ORDER BY at DESC LIMIT $4
"""
KEEP_MEASURES = """
INSERT INTO measure SELECT u.task_id, u.name, t.version, now_s(), u.value
 FROM unnest($1::text[], $2::text[], $3::float8[]) AS u(task_id, name, value) JOIN task t ON t.id = u.task_id
 ON CONFLICT (task_id, name) DO UPDATE SET at = excluded.at, value = excluded.value
"""
UNHOSTED = """
SELECT version, sum(delta)::bigint AS waiting FROM depth d
 WHERE NOT EXISTS (SELECT FROM worker w WHERE w.version = d.version AND w.lease_until >= now_s())
 GROUP BY version HAVING sum(delta) > 0
"""
CLOCK = "UPDATE quota SET clock = $1 WHERE clock < $1"
LIMITS = "SELECT limits, clock FROM quota"
SET_LIMITS = "UPDATE quota SET limits = $1::jsonb, tokens = least(tokens, $2::float8)"
REFILL = """
UPDATE quota SET tokens = least($2::float8, tokens + greatest(0, now_s() - refilled) * $1::float8), refilled = now_s()
 RETURNING tokens
"""
SPEND = "UPDATE quota SET tokens = tokens - $1::float8"

# What an answer without a task consists of is its only event: it stays until the task goes.
COMPACTABLE = """
SELECT id, log_from, generation FROM task WHERE ended_at < now_s() - $1::float8 AND log_from = 1 AND state < 100
 ORDER BY ended_at LIMIT 200 FOR UPDATE SKIP LOCKED
"""
# Spans of logs, as a log may be long: task, first generation, last.
DELETE_EVENTS = """
DELETE FROM event USING unnest($1::text[], $2::int[], $3::int[]) AS u(task_id, first, last)
 WHERE event.task_id = u.task_id AND event.generation BETWEEN u.first AND u.last
"""
COMPACT = (
    "DELETE FROM step WHERE task_id = ANY($1::text[])",
    "DELETE FROM takeover WHERE task_id = ANY($1::text[])",
    "UPDATE work SET request = '' WHERE task_id = ANY($1::text[])",
    "UPDATE task SET log_from = generation + 1 WHERE id = ANY($1::text[])",
)
FORGETTABLE = """
SELECT id, log_from, generation FROM task WHERE ended_at < now_s() - $1::float8 ORDER BY ended_at LIMIT 200 FOR UPDATE SKIP LOCKED
"""
FORGET = (
    *(
        f"DELETE FROM {table} WHERE task_id = ANY($1::text[])"
        for table in ("step", "takeover", "snapshot", "work", "push_config", "outbox", "measure")
    ),
    """DELETE FROM pin USING task t WHERE t.id = ANY($1::text[]) AND pin.owner = t.owner AND pin.context_id = t.context_id
 AND NOT EXISTS (SELECT FROM task o WHERE o.owner = t.owner AND o.context_id = t.context_id AND o.id <> ALL($1::text[]))""",
    "DELETE FROM task WHERE id = ANY($1::text[])",
)
