"""Hosted agents as real processes, and unmodified a2a-sdk clients for them."""

import itertools
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import jwt
from a2a.client import Client, ClientConfig, ClientFactory
from a2a.client.card_resolver import parse_agent_card
from a2a.types import a2a_pb2 as pb
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

_HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Agent:
    """A hosted agent's process and where it is reached."""

    port: int
    grpc_port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


def start(home: Path, card: str, store: str, **settings: str) -> Agent:
    """Start a process that hosts the executor of these tests under one of their cards."""
    port, grpc_port = free_port(), free_port()
    log = home / f"{card}-{port}.log"
    env = os.environ | {
        "PARLEY_LISTEN": f"127.0.0.1:{port}",
        "PARLEY_GRPC": f"127.0.0.1:{grpc_port}",
        "PARLEY_STORE": f"sqlite:///{home / store}",
        "PARLEY_PUSH_ALLOW": "127.0.0.0/8",
        "PARLEY_CANCEL_WAIT": "5",
        "PARLEY_MAX_BODY_BYTES": "300000",
        **settings,
    }
    command = [sys.executable, str(_HERE / "agent_process.py"), card]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
    return Agent(port, grpc_port, process, log)


class Issuer:
    """Issues tokens that the guarded agent trusts."""

    def __init__(self, home: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        jwk = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        path = home / "jwks.json"
        path.write_text(json.dumps({"keys": [jwk | {"kid": "k", "alg": "ES256", "use": "sig"}]}))
        self.settings = {
            "PARLEY_AUTH_ISSUER": "https://issuer.example",
            "PARLEY_AUTH_AUDIENCE": "agents",
            "PARLEY_AUTH_JWKS": str(path),
        }

    def token(self, subject: str) -> str:
        """A bearer token of `subject`."""
        claims = {
            "iss": "https://issuer.example",
            "aud": "agents",
            "sub": subject,
            "exp": time.time() + 600,
        }
        return jwt.encode(claims, self._key, "ES256", headers={"kid": "k"})


@contextmanager
def agents(home: Path, issuer: Issuer) -> Iterator[dict[str, Agent]]:
    """Two replicas ("one", "two") of the full agent on one file, one of each other card, and a full one that
    wants tokens ("guarded")."""
    running = {
        "one": start(home, "full", "full.db"),
        "two": start(home, "full", "full.db"),
        "modest": start(home, "modest", "modest.db"),
        "strict": start(home, "strict", "strict.db"),
        "promising": start(home, "promising", "promising.db"),
        "guarded": start(home, "full", "guarded.db", **issuer.settings),
    }
    try:
        deadline = time.monotonic() + 60
        while not all(agent.ready() for agent in running.values()):
            assert time.monotonic() < deadline, "the agents do not get ready"
            time.sleep(0.05)
        yield running
    finally:
        for agent in running.values():
            agent.process.terminate()
        for agent in running.values():
            try:
                agent.process.wait(20)
            except subprocess.TimeoutExpired:
                agent.process.kill()
                agent.process.wait(5)


class Alternating:
    """Two clients as one: each call goes to the next, so every follow-up meets another replica."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self._turn = itertools.cycle(clients)

    def __getattr__(self, name: str) -> Any:
        return getattr(next(self._turn), name)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


async def connect(agent: Agent, binding: str, version: str = "1.0", *, streaming: bool = False) -> Client:
    """The SDK's own client of an agent, made from the card it serves, held to one binding and version."""
    async with httpx.AsyncClient() as http:
        document = (await http.get(f"{agent.url}/.well-known/agent-card.json")).json()
    card = parse_agent_card(document)
    kept = [
        i for i in card.supported_interfaces if (i.protocol_binding, i.protocol_version) == (binding, version)
    ]
    del card.supported_interfaces[:]
    card.supported_interfaces.extend(kept)
    assert kept, f"the card claims no {binding} {version}"
    config = ClientConfig(
        streaming=streaming,
        supported_protocol_bindings=[binding],
        httpx_client=httpx.AsyncClient(timeout=20, headers={"A2A-Version": version}),
        grpc_channel_factory=grpc.aio.insecure_channel,
    )
    return ClientFactory(config).create(card)


def message(text: str, **fields: Any) -> pb.Message:
    """A user's message."""
    fields.setdefault("message_id", str(uuid.uuid4()))
    return pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text=text)], **fields)


def text_of(task: pb.Task) -> str:
    """The text of all artifacts of a task."""
    return "".join(part.text for artifact in task.artifacts for part in artifact.parts)
