"""Every SQL statement of the outbox. `not_before` decides alone what is due: a lease and a retry both move it into the
future, and so does waiting behind an earlier notification (PARK); so looking for work touches only what is due. The first pending row of a configuration stays the first until it is
settled, since ids grow in the order of commits; so what was first when looked at may be taken.
"""

from typing import Final

_MINE: Final = "id = :id AND state = 0 AND lease_owner = :sender AND lease_until = :lease_until"

DUE = """SELECT o.id, c.url, (SELECT e.id FROM outbox e WHERE e.task_id = o.task_id
 AND e.config_id = o.config_id AND e.state = 0 ORDER BY e.id LIMIT 1) FROM outbox o
 LEFT JOIN push_config c ON c.task_id = o.task_id AND c.id = o.config_id
 WHERE o.state = 0 AND o.not_before <= :now ORDER BY o.not_before, o.id LIMIT :limit"""
TAKE = """UPDATE outbox SET lease_owner = :sender, lease_until = :until, not_before = :until,
 attempts = attempts + 1 WHERE id = :id AND state = 0 AND not_before <= :now
 RETURNING id, task_id, config_id, generation, body, traceparent, created, attempts, lease_until,
 (SELECT c.body FROM push_config c WHERE c.task_id = outbox.task_id AND c.id = outbox.config_id AND c.url <> '')"""
PARK = """UPDATE outbox SET not_before = :until WHERE id = :id AND state = 0 AND not_before <= :now
 AND EXISTS (SELECT 1 FROM outbox e WHERE e.task_id = outbox.task_id AND e.config_id = outbox.config_id
 AND e.state = 0 AND e.id < outbox.id)"""
PUT_OFF = "UPDATE outbox SET not_before = :until WHERE id = :id AND state = 0 AND not_before <= :now"
DROP_UNWANTED = """DELETE FROM outbox WHERE id = :id AND state = 0 AND NOT EXISTS (SELECT 1 FROM push_config c
 WHERE c.task_id = outbox.task_id AND c.id = outbox.config_id AND c.url <> '')"""

DELIVERED = f"DELETE FROM outbox WHERE {_MINE}"
NEXT = """UPDATE outbox SET not_before = 0 WHERE id = (SELECT e.id FROM outbox e WHERE e.task_id = :task_id
 AND e.config_id = :config_id AND e.state = 0 ORDER BY e.id LIMIT 1) RETURNING id"""
RETRY = f"""UPDATE outbox SET not_before = :at, last_error = :reason, lease_owner = '', lease_until = 0
 WHERE {_MINE}"""
RELEASE = f"""UPDATE outbox SET not_before = 0, attempts = attempts - 1, lease_owner = '', lease_until = 0
 WHERE {_MINE}"""
GIVE_UP = f"UPDATE outbox SET state = 2, last_error = :reason, body = x'' WHERE {_MINE}"
GIVE_UP_OLD = """UPDATE outbox SET state = 2, last_error = :reason, body = x''
 WHERE task_id = :task_id AND config_id = :config_id AND state = 0 AND created < :before"""
SILENCE = "UPDATE push_config SET url = '' WHERE task_id = :task_id AND id = :config_id"

TASK_OF_OWNER = "SELECT 1 FROM task WHERE id = ? AND owner = ?"
SET_PUSH = "UPDATE task SET push = 1 WHERE id = ? AND push = 0"
OTHERS = "SELECT count(*) FROM push_config WHERE task_id = ? AND id <> ?"
SET = """INSERT INTO push_config(task_id, id, owner, url, body, created) VALUES(?, ?, ?, ?, ?, ?)
 ON CONFLICT(task_id, id) DO UPDATE SET url = excluded.url, body = excluded.body"""
GET = "SELECT body FROM push_config WHERE task_id = ? AND id = ? AND owner = ?"
LIST = "SELECT body FROM push_config WHERE task_id = ? AND owner = ? ORDER BY created, id"
DELETE = "DELETE FROM push_config WHERE task_id = ? AND id = ? AND owner = ?"
DROP_PENDING = "DELETE FROM outbox WHERE task_id = ? AND config_id = ? AND state = 0"

FAILURES = """SELECT config_id, generation, attempts, last_error, state = 2 FROM outbox
 WHERE task_id = ? AND last_error <> '' ORDER BY id DESC LIMIT 100"""
PENDING = "SELECT count(*), min(created) FROM outbox WHERE state = 0"
GIVEN_UP = "SELECT count(*) FROM outbox WHERE state = 2"
FORGET = "SELECT id FROM outbox WHERE state = 2 AND created < ? LIMIT ?"
DROP = "DELETE FROM outbox WHERE id = ? AND state = 2"
