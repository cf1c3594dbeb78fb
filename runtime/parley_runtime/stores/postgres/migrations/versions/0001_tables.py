"""The tables of one agent. Times are seconds since the epoch by the database's clock."""

from alembic import op

revision = "0001"
down_revision = None

# `queue` has one row for each task with work to do, whether it waits (worker = '') or is leased; `number` is the
# entry that is or will be run, `cancel` that of a request to cancel what runs. Small and often rewritten, it is vacuumed early. `depth` holds changes of the number of
# waiting rows, appended by triggers without contention and folded by sweepers: its sum is exact in any transaction.
_TABLES = """
CREATE TABLE task(
  id text PRIMARY KEY,
  owner text NOT NULL,
  context_id text NOT NULL,
  version text NOT NULL,
  state smallint NOT NULL DEFAULT 0,
  generation integer NOT NULL DEFAULT 0,
  epoch integer NOT NULL DEFAULT 0,
  visible boolean NOT NULL DEFAULT false,
  push boolean NOT NULL DEFAULT false,
  status_at double precision NOT NULL,
  refusal text NOT NULL DEFAULT ''
) WITH (fillfactor = 75);
CREATE INDEX task_listed ON task(owner, status_at DESC, id DESC) WHERE visible;
CREATE INDEX task_context ON task(owner, context_id);
CREATE TABLE pin(
  owner text NOT NULL,
  context_id text NOT NULL,
  version text NOT NULL,
  PRIMARY KEY(owner, context_id)
);
CREATE TABLE snapshot(
  task_id text PRIMARY KEY,
  generation integer NOT NULL,
  body bytea NOT NULL
);
CREATE TABLE event(
  task_id text NOT NULL,
  generation integer NOT NULL,
  work integer NOT NULL,
  state smallint NOT NULL,
  at double precision NOT NULL,
  body bytea NOT NULL,
  message bytea NOT NULL,
  PRIMARY KEY(task_id, generation)
);
CREATE TABLE work(
  task_id text NOT NULL,
  number integer NOT NULL,
  kind text NOT NULL,
  state smallint NOT NULL DEFAULT 0,
  version text NOT NULL,
  owner text NOT NULL,
  message_id text NOT NULL,
  digest bytea NOT NULL,
  generation integer NOT NULL DEFAULT 0,
  worker text NOT NULL DEFAULT '',
  attempt integer NOT NULL DEFAULT 0,
  priority smallint NOT NULL,
  tenant text NOT NULL,
  rank double precision NOT NULL,
  request bytea NOT NULL,
  traceparent text NOT NULL,
  accepted double precision NOT NULL,
  expires double precision,
  started double precision,
  ended double precision,
  PRIMARY KEY(task_id, number)
) WITH (fillfactor = 75);
CREATE UNIQUE INDEX work_message ON work(owner, message_id) WHERE message_id <> '';
CREATE INDEX work_rank ON work(tenant, priority, rank);
CREATE TABLE queue(
  task_id text PRIMARY KEY,
  number integer NOT NULL,
  version text NOT NULL,
  priority smallint NOT NULL,
  rank double precision NOT NULL,
  since double precision NOT NULL,
  expires double precision,
  worker text NOT NULL DEFAULT '',
  held double precision NOT NULL DEFAULT 0,
  cancel integer
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2);
CREATE INDEX queue_waiting ON queue(version, priority DESC, rank, since) WHERE worker = '';
CREATE INDEX queue_held ON queue(worker) WHERE worker <> '';
CREATE INDEX queue_expires ON queue(expires) WHERE worker = '' AND expires IS NOT NULL;
CREATE TABLE depth(
  version text NOT NULL,
  priority smallint NOT NULL,
  delta bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE worker(
  id text PRIMARY KEY,
  version text NOT NULL,
  lease_until double precision NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE takeover(
  task_id text NOT NULL,
  epoch integer NOT NULL,
  worker text NOT NULL,
  at double precision NOT NULL,
  PRIMARY KEY(task_id, epoch)
);
CREATE TABLE step(
  task_id text NOT NULL,
  number integer NOT NULL,
  name text NOT NULL,
  result bytea NOT NULL,
  started double precision NOT NULL,
  ended double precision NOT NULL,
  PRIMARY KEY(task_id, number, name)
);
CREATE TABLE push_config(
  task_id text NOT NULL,
  id text NOT NULL,
  owner text NOT NULL,
  url text NOT NULL,
  body bytea NOT NULL,
  created double precision NOT NULL,
  PRIMARY KEY(task_id, id)
);
CREATE TABLE outbox(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id text NOT NULL,
  config_id text NOT NULL,
  generation integer NOT NULL,
  body bytea NOT NULL,
  traceparent text NOT NULL DEFAULT '',
  created double precision NOT NULL,
  not_before double precision NOT NULL DEFAULT 0,
  attempts integer NOT NULL DEFAULT 0,
  lease_until double precision NOT NULL DEFAULT 0,
  lease_owner text NOT NULL DEFAULT '',
  last_error text NOT NULL DEFAULT '',
  state smallint NOT NULL DEFAULT 0
);
CREATE INDEX outbox_due ON outbox(not_before) WHERE state = 0;
CREATE INDEX outbox_order ON outbox(task_id, config_id, id);
CREATE TABLE quota(
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  limits jsonb,
  tokens double precision NOT NULL DEFAULT 0,
  refilled double precision NOT NULL DEFAULT 0,
  clock double precision NOT NULL DEFAULT 0
);
INSERT INTO quota DEFAULT VALUES;
"""

_FUNCTIONS = (
    """
CREATE FUNCTION now_s() RETURNS double precision LANGUAGE sql STABLE AS
 'SELECT extract(epoch FROM statement_timestamp())::double precision'
""",
    """
CREATE FUNCTION queue_grew() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 INSERT INTO depth SELECT version, priority, count(*) FROM new WHERE worker = '' GROUP BY version, priority;
 RETURN NULL;
END $$
""",
    """
CREATE FUNCTION queue_shrank() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 INSERT INTO depth SELECT version, priority, -count(*) FROM old WHERE worker = '' GROUP BY version, priority;
 RETURN NULL;
END $$
""",
    """
CREATE FUNCTION queue_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 INSERT INTO depth SELECT version, priority, sum(n) FROM (
  SELECT version, priority, count(*) n FROM new WHERE worker = '' GROUP BY version, priority
  UNION ALL SELECT version, priority, -count(*) FROM old WHERE worker = '' GROUP BY version, priority) x
  GROUP BY version, priority HAVING sum(n) <> 0;
 RETURN NULL;
END $$
""",
    """
CREATE TRIGGER grew AFTER INSERT ON queue REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION queue_grew()
""",
    """
CREATE TRIGGER shrank AFTER DELETE ON queue REFERENCING OLD TABLE AS old FOR EACH STATEMENT EXECUTE FUNCTION queue_shrank()
""",
    """
CREATE TRIGGER changed AFTER UPDATE ON queue REFERENCING OLD TABLE AS old NEW TABLE AS new
 FOR EACH STATEMENT EXECUTE FUNCTION queue_changed()
""",
)


def upgrade() -> None:
    """Make the tables in the schema that the connection's search_path names."""
    for statement in (*_TABLES.strip().removesuffix(";").split(";\n"), *_FUNCTIONS):
        op.get_bind().exec_driver_sql(statement)
