"""Every SQL statement of the outbox on PostgreSQL (see `statements` for how `not_before` decides alone what is due).

Senders look at what is due under row locks and skip what others look at. Whoever settles a notification makes the next
of its task and configuration due, and waits for whoever is looking at that one just then; who looks waits for nobody.
"""

from typing import Final

DUE = """
SELECT o.id, c.url, (SELECT e.id FROM outbox e WHERE e.task_id = o.task_id AND e.config_id = o.config_id AND e.state = 0
  ORDER BY e.id LIMIT 1)
 FROM outbox o LEFT JOIN push_config c ON c.task_id = o.task_id AND c.id = o.config_id
 WHERE o.state = 0 AND o.not_before <= now_s() ORDER BY o.not_before, o.id LIMIT $1 FOR UPDATE OF o SKIP LOCKED
"""
# What was looked at, and is locked: $1 are ids.
# Parking waits for nobody either, but only behind a notification that nobody settles at this moment: who settles it may
# have looked for the next already, and not have seen this one.
PARK = """
UPDATE outbox SET not_before = now_s() + $2 WHERE id = ANY($1::bigint[])
 AND EXISTS (SELECT FROM outbox e WHERE e.task_id = outbox.task_id AND e.config_id = outbox.config_id AND e.state = 0
  AND e.id < outbox.id ORDER BY e.id LIMIT 1 FOR SHARE SKIP LOCKED)
"""
PUT_OFF = """
UPDATE outbox SET not_before = now_s() + u.wait FROM unnest($1::bigint[], $2::float8[]) AS u(id, wait) WHERE outbox.id = u.id
"""
DROP_UNWANTED = """
DELETE FROM outbox WHERE id = ANY($1::bigint[]) AND NOT EXISTS (SELECT FROM push_config c WHERE c.task_id = outbox.task_id
 AND c.id = outbox.config_id AND c.url <> '')
"""
_DELIVERY: Final = """o.id, o.task_id, o.config_id, o.generation, o.body, o.traceparent, now_s() - o.created AS age,
 o.attempts, o.lease_until, c.body AS config"""
TAKE = f"""
UPDATE outbox o SET lease_owner = $2, lease_until = now_s() + $3::float8, not_before = now_s() + $3::float8,
  attempts = o.attempts + 1
 FROM push_config c WHERE o.id = ANY($1::bigint[]) AND c.task_id = o.task_id AND c.id = o.config_id AND c.url <> ''
 RETURNING {_DELIVERY}
"""

# $1 ids, $2 their senders, $3 the leases they are held under.
_MINE: Final = "o.id = i.id AND o.state = 0 AND o.lease_owner = i.sender AND o.lease_until = i.lease_until"
DELIVERED = f"""
DELETE FROM outbox o USING (SELECT * FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::float8[]) AS u(id, sender, lease_until, seconds)) i
 WHERE {_MINE} RETURNING o.id, o.task_id, o.config_id, i.sender, i.seconds
"""
# A statement of its own behind DELIVERED, in one transaction: it sees what was parked until then, and behind what is
# deleted nobody parks any more. $5 seconds for which the next is leased at once (0: it is only made due). The answer has
# those that were.
FOLLOWING = """
WITH d AS (SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::float8[]) AS u(id, task_id, config_id, sender, seconds)),
n AS (
 SELECT d.id AS was, d.sender, d.seconds, c.body, d.seconds > 0 AND coalesce(c.url, '') <> '' AS taken,
  (SELECT e.id FROM outbox e WHERE e.task_id = d.task_id AND e.config_id = d.config_id AND e.state = 0 AND e.id > d.id
   ORDER BY e.id LIMIT 1) AS id
 FROM d LEFT JOIN push_config c ON c.task_id = d.task_id AND c.id = d.config_id),
o AS (
 UPDATE outbox SET lease_owner = CASE WHEN n.taken THEN n.sender ELSE '' END,
   lease_until = CASE WHEN n.taken THEN now_s() + n.seconds ELSE 0 END,
   not_before = CASE WHEN n.taken THEN now_s() + n.seconds ELSE 0 END,
   attempts = attempts + CASE WHEN n.taken THEN 1 ELSE 0 END
  FROM n WHERE outbox.id = n.id AND outbox.state = 0
  RETURNING outbox.*, n.was, n.taken, n.body AS config)
SELECT o.was, o.id, o.task_id, o.config_id, o.generation, o.body, o.traceparent, now_s() - o.created AS age, o.attempts,
  o.lease_until, o.config FROM o WHERE o.taken
"""
# What an earlier try of DELIVERED leased, of which no answer came: $1 ids that were delivered, $2 senders, $3 and $4 their lanes.
UNHEARD = f"""
SELECT u.was, {_DELIVERY} FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS u(was, sender, task_id, config_id)
 JOIN outbox o ON o.task_id = u.task_id AND o.config_id = u.config_id AND o.state = 0 AND o.id > u.was
 JOIN push_config c ON c.task_id = o.task_id AND c.id = o.config_id AND c.url <> ''
 WHERE o.lease_owner = u.sender AND o.lease_until > now_s()
"""
RETRY = f"""
UPDATE outbox o SET not_before = now_s() + i.pause, last_error = i.reason, lease_owner = '', lease_until = 0
 FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::float8[], $5::text[]) AS i(id, sender, lease_until, pause, reason) WHERE {_MINE}
"""
RELEASE = f"""
UPDATE outbox o SET not_before = 0, attempts = o.attempts - 1, lease_owner = '', lease_until = 0
 FROM unnest($1::bigint[], $2::text[], $3::float8[]) AS i(id, sender, lease_until) WHERE {_MINE}
"""
GIVE_UP = f"""
UPDATE outbox o SET state = 2, last_error = $4, body = '' FROM (VALUES ($1::bigint, $2::text, $3::float8)) AS i(id, sender, lease_until)
 WHERE {_MINE} RETURNING o.id
"""
GIVE_UP_OLD = """
UPDATE outbox SET state = 2, last_error = $3, body = '' WHERE id IN (SELECT id FROM outbox
 WHERE task_id = $1 AND config_id = $2 AND state = 0 AND created < now_s() - $4::float8 ORDER BY id FOR UPDATE)
"""
GIVE_UP_ALL = """
UPDATE outbox SET state = 2, last_error = $3, body = '' WHERE id IN (SELECT id FROM outbox
 WHERE task_id = $1 AND config_id = $2 AND state = 0 ORDER BY id FOR UPDATE)
"""
NEXT = """
UPDATE outbox SET not_before = 0 WHERE id = (SELECT id FROM outbox WHERE task_id = $1 AND config_id = $2 AND state = 0
 ORDER BY id LIMIT 1)
"""
SILENCE = "UPDATE push_config SET url = '' WHERE task_id = $1 AND id = $2"

# Under the lock of the task no two can pass the limit together.
LOCK_TASK = "SELECT push FROM task WHERE id = $1 AND owner = $2 FOR UPDATE"
SET_PUSH = "UPDATE task SET push = true WHERE id = $1"
OTHERS = "SELECT count(*) FROM push_config WHERE task_id = $1 AND id <> $2"
SET = """
INSERT INTO push_config(task_id, id, owner, url, body, created) VALUES ($1, $2, $3, $4, $5, now_s())
 ON CONFLICT (task_id, id) DO UPDATE SET url = excluded.url, body = excluded.body
"""
GET = "SELECT body FROM push_config WHERE task_id = $1 AND id = $2 AND owner = $3"
LIST = "SELECT body FROM push_config WHERE task_id = $1 AND owner = $2 ORDER BY created, id"
DELETE = "DELETE FROM push_config WHERE task_id = $1 AND id = $2 AND owner = $3 RETURNING id"
DROP_PENDING = """
DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE task_id = $1 AND config_id = $2 AND state = 0 ORDER BY id FOR UPDATE)
"""

FAILURES = """
SELECT config_id, generation, attempts, last_error, given_up FROM (
 (SELECT id, config_id, generation, attempts, last_error, true AS given_up FROM outbox WHERE task_id = $1 AND state = 2
   ORDER BY id DESC LIMIT 100)
 UNION ALL
 (SELECT id, config_id, generation, attempts, last_error, false FROM outbox WHERE task_id = $1 AND state = 0
   AND last_error <> '' ORDER BY id DESC LIMIT 100)) f ORDER BY id DESC LIMIT 100
"""
# The oldest is the first that still waits: ids grow with time, nearly.
STATE = """
SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE state = 0 LIMIT $1) p),
 coalesce(now_s() - (SELECT created FROM outbox WHERE state = 0 ORDER BY id LIMIT 1), 0),
 (SELECT count(*) FROM (SELECT FROM outbox WHERE state = 2 LIMIT $1) g)
"""
FORGET = """
WITH old AS (DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state = 2 AND created < now_s() - $1::float8
 ORDER BY created LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1)
SELECT count(*) FROM old
"""
