"""Fixtures of the behaviour tests: agents that run, and the a2a-sdk's clients of every kind."""

import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hosted import Agent, Alternating, Issuer, agents, connect

BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")
KINDS = [
    *((binding, "1.0", ("one",)) for binding in BINDINGS),
    *((binding, "0.3", ("one",)) for binding in BINDINGS),
    *((binding, "1.0", ("one", "two")) for binding in BINDINGS),
]


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
def running(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[dict[str, Agent]]:
    """All agents, started once."""
    with agents(tmp_path_factory.mktemp("agents"), issuer) as started:
        yield started


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join([kind[0], kind[1], *kind[2][1:]]))
async def wired(request: pytest.FixtureRequest, running: dict[str, Agent]) -> AsyncIterator[Wired]:
    binding, version, replicas = request.param
    pairs = [
        [await connect(running[name], binding, version, streaming=streaming) for name in replicas]
        for streaming in (False, True)
    ]
    plain, streaming = (Alternating(clients) for clients in pairs)
    yield Wired(plain, streaming, binding, version)
    await plain.close()
    await streaming.close()
