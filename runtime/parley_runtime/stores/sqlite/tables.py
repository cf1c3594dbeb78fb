"""The tables on a SQLite file.

A work entry is BEHIND (-1) while another entry of its task runs or comes before it, READY (0) to be taken, RUNNING (1)
under a lease, DONE (2). Only what is ready is in the indexes that `take` reads, so the cost of taking does not grow with
the backlog, and what is accepted and taken in one step costs them nothing.
"""

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
  refusal TEXT NOT NULL DEFAULT '',
  ended REAL,
  log_from INTEGER NOT NULL DEFAULT 1,
  compact INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX task_listed ON task(owner, status_at DESC, id DESC) WHERE visible = 1;
CREATE INDEX task_context ON task(owner, context_id);
CREATE INDEX task_ended ON task(ended) WHERE ended IS NOT NULL AND compact = 0;
CREATE INDEX task_compact ON task(ended) WHERE compact = 1;
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
  message_id TEXT NOT NULL DEFAULT '',
  tenant TEXT NOT NULL DEFAULT '',
  priority INTEGER NOT NULL DEFAULT 3,
  rank REAL NOT NULL DEFAULT 0,
  expires REAL,
  PRIMARY KEY(task_id, number)
) WITHOUT ROWID;
CREATE INDEX work_ready ON work(version, priority DESC, rank, accepted) WHERE state = 0;
CREATE INDEX work_oldest ON work(accepted) WHERE state = 0;
CREATE INDEX work_expiring ON work(expires) WHERE state = 0 AND expires IS NOT NULL;
CREATE INDEX work_running ON work(worker) WHERE state = 1;
CREATE INDEX work_cancels ON work(task_id) WHERE state <= 0 AND kind = 'cancel';
CREATE TABLE waiting(
  priority INTEGER PRIMARY KEY,
  entries INTEGER NOT NULL
);
INSERT INTO waiting VALUES(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0);
CREATE TRIGGER work_is_taken AFTER UPDATE OF state ON work WHEN old.state <= 0 AND new.state > 0
BEGIN
  UPDATE waiting SET entries = entries - 1 WHERE priority = new.priority;
END;
CREATE TRIGGER work_waits_again AFTER UPDATE OF state ON work WHEN old.state > 0 AND new.state <= 0
BEGIN
  UPDATE waiting SET entries = entries + 1 WHERE priority = new.priority;
END;
CREATE TABLE share(
  version TEXT NOT NULL,
  priority INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  rank REAL NOT NULL,
  step REAL NOT NULL,
  PRIMARY KEY(version, priority, tenant)
) WITHOUT ROWID;
CREATE TRIGGER work_is_dropped AFTER UPDATE OF state ON work WHEN old.state <= 0 AND new.state = 2
BEGIN
  UPDATE share SET rank = rank - step
   WHERE version = new.version AND priority = new.priority AND tenant = new.tenant;
END;
CREATE TABLE clock(
  version TEXT NOT NULL,
  priority INTEGER NOT NULL,
  rank REAL NOT NULL,
  PRIMARY KEY(version, priority)
) WITHOUT ROWID;
CREATE TABLE limits(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  concurrency INTEGER NOT NULL,
  rate REAL NOT NULL,
  burst INTEGER NOT NULL,
  backlog INTEGER NOT NULL,
  weights TEXT NOT NULL,
  tokens REAL NOT NULL,
  at REAL NOT NULL
);
INSERT INTO limits VALUES(1, 0, 0, 1, 100000, '{}', 1, 0);
CREATE TABLE parked(
  seq INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL
);
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
CREATE TABLE resident(
  version TEXT PRIMARY KEY,
  agent TEXT NOT NULL,
  executor TEXT NOT NULL
) WITHOUT ROWID;
""",
    """
CREATE TABLE rollout(
  version TEXT PRIMARY KEY,
  position INTEGER NOT NULL,
  state TEXT NOT NULL,
  weight REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE measure(
  task_id TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  at REAL NOT NULL,
  value REAL NOT NULL,
  PRIMARY KEY(task_id, name)
) WITHOUT ROWID;
CREATE INDEX measure_newest ON measure(version, name, at, value);
ALTER TABLE task ADD COLUMN accepted REAL NOT NULL DEFAULT 0;
CREATE INDEX task_interrupted ON task(version, owner, context_id) WHERE state IN (6, 8);
DROP INDEX task_ended;
CREATE INDEX task_ended ON task(ended, version, state, accepted, compact) WHERE ended IS NOT NULL AND compact = 0;
DROP INDEX task_compact;
CREATE INDEX task_compact ON task(ended, version, state, accepted, compact) WHERE compact = 1;
""",
    """
CREATE TABLE pin(
  owner TEXT NOT NULL,
  context_id TEXT NOT NULL,
  version TEXT NOT NULL,
  PRIMARY KEY(owner, context_id)
) WITHOUT ROWID;
""",
)
