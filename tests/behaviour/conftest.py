"""Fixtures of the behaviour tests: agents that run, and the a2a-sdk's clients of every kind."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hosted import Agent, Alternating, Issuer, agents, cluster, connect

BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")
PROFILES = ("sqlite", "postgres", pytest.param("rocketmq", marks=pytest.mark.cluster))
KINDS = [
    *((binding, "1.0", ("one",), "sqlite") for binding in BINDINGS),
    *((binding, "0.3", ("one",), "sqlite") for binding in BINDINGS),
    *((binding, "1.0", ("one", "two"), "sqlite") for binding in BINDINGS),
    *((binding, "1.0", ("one", "two"), "postgres") for binding in BINDINGS),
    *(
        pytest.param((binding, "1.0", ("one", "two"), "rocketmq"), marks=pytest.mark.cluster)
        for binding in BINDINGS
    ),
]
Started = Callable[[str], dict[str, Agent]]


@dataclass
class Wired:
    """A blocking and a streaming client of the full agent, over one binding, to one or both replicas."""

    client: Any
    streaming: Any
    binding: str
    version: str


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="session")
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: Issuer
) -> Iterator[Started]:
    """The agents of a profile, started once, when a test first asks for them."""
    found: dict[str, dict[str, Agent]] = {}
    with ExitStack() as stack:

        def start(profile: str) -> dict[str, Agent]:
            if profile not in found:
                home = tmp_path_factory.mktemp(profile)
                if profile == "sqlite":
                    made = agents(home, issuer)
                else:
                    server = request.getfixturevalue("postgres")
                    engines = {"store": server.create_database()}
                    if profile == "rocketmq":
                        url = request.getfixturevalue("rocketmq").url
                        engines |= {"queue": url, "bus": url}
                    made = cluster(home, engines)
                found[profile] = stack.enter_context(made)
            return found[profile]

        yield start


@pytest.fixture(scope="session")
def running(started: Started) -> dict[str, Agent]:
    """All agents on SQLite."""
    return started("sqlite")


@pytest.fixture(params=PROFILES)
def replicas(request: pytest.FixtureRequest, started: Started) -> dict[str, Agent]:
    """Two replicas, "one" and "two", that answer calls, on each profile."""
    return started(request.param)


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join([kind[0], kind[1], *kind[2][1:], kind[3]]))
async def wired(request: pytest.FixtureRequest, started: Started) -> AsyncIterator[Wired]:
    binding, version, names, profile = request.param
    pairs = [
        [await connect(started(profile)[name], binding, version, streaming=streaming) for name in names]
        for streaming in (False, True)
    ]
    plain, streaming = (Alternating(clients) for clients in pairs)
    yield Wired(plain, streaming, binding, version)
    await plain.close()
    await streaming.close()
