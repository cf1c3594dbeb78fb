"""pytest fixtures over real servers, one of each for a whole run (all xdist workers together), started when first asked for."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engines.keeper import Scratch
from engines.nacos import Nacos
from engines.nacos_link import NacosLink
from engines.postgres import Postgres
from engines.rocketmq import RocketMQ
from engines.s3 import S3


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Scratch]:
    """The folder of the servers that all workers of this run share; what runs in it ends with the last worker."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    scratch = Scratch.join(Path(tempfile.gettempdir()) / f"parley-tests-{run[:16]}")
    yield scratch
    scratch.leave()


@pytest.fixture(scope="session")
def postgres(run_folder: Scratch) -> Postgres:
    """The run's PostgreSQL, for all who leave it running: create_database() gives each test its own."""
    with run_folder.locked():
        server = Postgres(run_folder.folder)
        if not server.running:
            server.start()
    return server


@pytest.fixture
def postgres_dsn(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database for this test alone."""
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def own_postgres() -> Iterator[Callable[..., Postgres]]:
    """Start a server that this test may kill: `own_postgres(settings={"max_connections": "20"})`."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(Postgres(**options))


@pytest.fixture(scope="session")
def rocketmq(run_folder: Scratch) -> RocketMQ:
    """The run's RocketMQ, for all who leave it running: have topics and groups of your own names on it."""
    with run_folder.locked():
        return RocketMQ(run_folder.folder, short_lived=True).start()


@pytest.fixture
def own_rocketmq() -> Iterator[Callable[..., RocketMQ]]:
    """Start a cluster whose parts this test may kill: `own_rocketmq()`."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(RocketMQ(**{"short_lived": True, **options}))


@pytest.fixture(scope="session")
def s3(run_folder: Scratch) -> S3:
    """The run's S3 server, for all who leave it running: create_bucket() gives each test its own."""
    with run_folder.locked():
        server = S3(run_folder.folder)
        if not server.running:
            server.start()
    return server


@pytest.fixture
def s3_url(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://bucket?endpoint=…` of an empty bucket for this test alone, its credentials in the environment."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.url(s3.create_bucket())


@pytest.fixture
def own_s3() -> Iterator[Callable[..., S3]]:
    """Start an S3 server that this test may kill: `own_s3()`."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(S3(**options))


@pytest.fixture(scope="session")
def nacos(run_folder: Scratch) -> Nacos:
    """The run's Nacos, for all who leave it running: create_namespace() gives each test its own."""
    with run_folder.locked():
        server = Nacos(run_folder.folder, short_lived=True)
        if not server.running:
            server.start()
    return server


@pytest.fixture
def nacos_url(nacos: Nacos) -> str:
    """`nacos://nacos:…@127.0.0.1:port/t…`: an empty namespace for this test alone, and who may do all."""
    return nacos.address(nacos.create_namespace())


@pytest.fixture
async def nacos_link(nacos: Nacos) -> AsyncIterator[NacosLink]:
    """A way of this test's own to the run's Nacos: `nacos_link.address(namespace)`, then `await nacos_link.set("black")`."""
    link = NacosLink(nacos)
    await link.start()
    yield link
    await link.close()


@pytest.fixture
def own_nacos() -> Iterator[Callable[..., Nacos]]:
    """Start a Nacos that this test may kill: `own_nacos(settings={"nacos.core.auth.caching.enabled": "true"})`."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(Nacos(**{"short_lived": True, **options}))
