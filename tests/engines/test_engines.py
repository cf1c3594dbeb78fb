"""The engines themselves: they start, keep what they were told through kill -9, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engines.errors import EngineError
from engines.postgres import Postgres
from engines.rocketmq import PARTS, RocketMQ

DEPLOY = Path(__file__).parents[2] / "deploy"


def gone(what: Callable[[], bool]) -> bool:
    """Whether it is gone within ten seconds."""
    deadline = time.monotonic() + 10
    while what() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not what()


def test_each_test_gets_an_empty_database_and_fsync_is_on(postgres: Postgres, postgres_dsn: str) -> None:
    database = postgres_dsn.rpartition("/")[2]
    assert (
        postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=database)
        == "0"
    )
    assert postgres.execute("SHOW fsync", database=database) == "on"


def test_what_postgres_committed_is_there_after_kill_9(own_postgres: Callable[..., Postgres]) -> None:
    server = own_postgres(settings={"max_connections": "20"})
    dsn, pid = server.dsn, server.pid
    server.execute("CREATE TABLE kept AS SELECT 1 AS one")
    server.kill()
    assert not server.running
    server.start()
    assert (server.execute("SELECT one FROM kept"), server.dsn) == ("1", dsn)
    assert server.pid != pid
    assert server.execute("SHOW max_connections") == "20"


def test_a_frozen_postgres_answers_again_after_resume(own_postgres: Callable[..., Postgres]) -> None:
    server = own_postgres()
    server.pause()
    with pytest.raises(subprocess.TimeoutExpired):
        server.execute("SELECT 1", timeout=0.5)
    server.resume()
    assert server.execute("SELECT 1") == "1"


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_each_part_of_rocketmq_may_be_killed_and_comes_back_on_its_port(
    own_rocketmq: Callable[..., RocketMQ],
) -> None:
    cluster = own_rocketmq()
    url, broker = cluster.url, cluster.pid("broker")
    cluster.kill("proxy")
    assert (cluster.running("proxy"), cluster.pid("broker")) == (False, broker)
    cluster.start()
    for part in PARTS:
        cluster.kill(part)
        cluster.start(part)
    assert (cluster.running(), cluster.url) == (True, url)
    folder = cluster.folder
    cluster.close()
    assert not cluster.running()
    assert not folder.exists()


def test_a_wrong_statement_is_an_error_that_says_so(postgres: Postgres) -> None:
    with pytest.raises(EngineError, match="nowhere"):
        postgres.execute("SELECT * FROM nowhere")


def test_nothing_is_left_when_its_user_is_killed() -> None:
    program = (
        f"import sys, time; sys.path.insert(0, {str(DEPLOY)!r})\n"
        "from engines.postgres import Postgres\n"
        "server = Postgres().start(); print(server.pid, server.folder, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        pid, folder = user.stdout.readline().split()
        os.kill(user.pid, signal.SIGKILL)
    assert gone(
        lambda: psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    )
    assert gone(lambda: Path(folder).exists())
