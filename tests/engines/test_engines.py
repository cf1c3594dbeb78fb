"""The engines themselves: they start, keep what they were told through kill -9, and leave nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from obstore.store import S3Store

from engines.errors import EngineError
from engines.keeper import Scratch
from engines.nacos import Nacos
from engines.nacos_link import NacosLink
from engines.postgres import Postgres
from engines.rocketmq import PARTS, RocketMQ
from engines.run import Engines, place_of
from engines.s3 import S3

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder as `make engines` has it: the account that PostgreSQL runs as may pass through."""
    scratch = Scratch.create("place")
    yield scratch.folder
    scratch.remove()


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


def test_a_developers_engine_is_there_for_other_commands_and_down_leaves_nothing_running(
    place: Path,
) -> None:
    Engines(place).up("postgres")
    seen_by_another = Engines(place)
    assert seen_by_another.missing("postgres") == []
    dsn, pid = seen_by_another.environment("postgres")["PARLEY_STORE"], seen_by_another.postgres.pid
    seen_by_another.postgres.execute("CREATE TABLE kept AS SELECT 1 AS one")
    Engines(place).down("postgres")
    assert pid is not None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    again = Engines(place)
    again.up("postgres")
    assert (again.postgres.execute("SELECT one FROM kept"), again.postgres.dsn) == ("1", dsn)


@pytest.mark.cluster
def test_s3_keeps_what_it_was_given_through_kill_9_and_refuses_who_does_not_sign(
    own_s3: Callable[..., S3],
) -> None:
    server = own_s3()
    bucket = server.create_bucket()
    store = bucket_of(server, bucket)
    store.put("kept", b"x" * 6_000_000, chunk_size=5 * 1024 * 1024, use_multipart=True)
    server.kill()
    server.start()
    assert bytes(store.get_range("kept", start=5_999_998, length=2)) == b"xx"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.endpoint}/{bucket}/kept", timeout=10)


@pytest.mark.cluster
def test_every_test_has_a_bucket_of_its_own(s3: S3, s3_url: str) -> None:
    assert s3_url.startswith("s3://")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == s3.environment["AWS_SECRET_ACCESS_KEY"]


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_nacos_keeps_what_it_was_given_through_kill_9_and_refuses_who_has_no_password(
    own_nacos: Callable[..., Nacos],
) -> None:
    server = own_nacos(settings={"nacos.core.auth.plugin.nacos.token.expire.seconds": "1234"})
    url, namespace = server.url, server.create_namespace()
    assert server.login()["tokenTtl"] == 1234
    server.kill()
    assert not server.running
    server.start()
    known = server.call("GET", "/v3/admin/core/namespace/list")
    assert (namespace in {each["namespace"] for each in known}, server.url) == (True, url)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.http}/nacos/v3/admin/core/namespace/list", timeout=10)
    folder = server.folder
    server.close()
    assert not server.running
    assert not folder.exists()


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_every_test_has_a_nacos_namespace_of_its_own(nacos: Nacos, nacos_url: str) -> None:
    namespace = nacos_url.rpartition("/")[2]
    assert nacos_url == nacos.address(namespace)
    agents = nacos.call(
        "GET",
        "/v3/admin/ai/a2a/list",
        {"namespaceId": namespace, "agentName": "", "search": "blur", "pageNo": "1", "pageSize": "10"},
    )
    assert agents["totalCount"] == 0


@pytest.mark.cluster
@pytest.mark.timeout(300)
async def test_a_way_to_nacos_can_be_cut_and_blackholed_while_others_reach_it(
    nacos: Nacos, nacos_link: NacosLink
) -> None:
    ready = f"http://127.0.0.1:{nacos_link.port}/nacos/v3/admin/core/state/readiness"
    assert nacos_link.address("here").endswith(f"@127.0.0.1:{nacos_link.port}/here")
    async with httpx.AsyncClient(trust_env=False, timeout=1) as client:
        assert (await client.get(ready)).status_code == 200
        await nacos_link.set("cut")
        with pytest.raises(httpx.NetworkError):
            await client.get(ready)
        await nacos_link.set("black")
        with pytest.raises(httpx.TimeoutException):
            await client.get(ready)
        assert (await client.get(ready.replace(str(nacos_link.port), str(nacos.port)))).status_code == 200
        await nacos_link.set("whole")
        assert (await client.get(ready)).status_code == 200
    _, grpc = await asyncio.open_connection("127.0.0.1", nacos_link.port + 1000)
    grpc.close()


def bucket_of(server: S3, bucket: str) -> S3Store:
    """A client of it."""
    config = {name.lower(): value for name, value in server.environment.items()}
    return S3Store(bucket, endpoint=server.endpoint, client_options={"allow_http": True}, **config)


def test_each_checkout_has_engines_of_its_own(tmp_path: Path) -> None:
    one, other = place_of(tmp_path / "one"), place_of(tmp_path / "other")
    assert one != other
    assert one == place_of(tmp_path / "one")
    assert len(str(one)) < 50  # sockets of PostgreSQL are below it, whose paths have to be short


def test_no_port_is_given_twice_to_processes_that_ask_at_the_same_time() -> None:
    ask = "from engines.ports import free_port; print(*(free_port() for _ in range(1500))); input()"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ask],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(DEPLOY)},
        )
        for _ in range(2)
    ]
    # Neither ends before both have answered: what a process was given is its own until then.
    given = [port for process in started if process.stdout for port in process.stdout.readline().split()]
    for process in started:
        process.communicate("\n")
    assert len(set(given)) == len(given) == 3000
