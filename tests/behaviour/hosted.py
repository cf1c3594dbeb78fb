"""Hosted agents as real processes, and unmodified a2a-sdk clients for them."""

import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
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

from engines.ports import free_port

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Agent:
    """A hosted agent, where it is reached, and its process (which may host others too)."""

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


def start(home: Path, cards: dict[str, dict[str, str]]) -> dict[str, Agent]:
    """Start one process that hosts the executor of these tests under the cards named, each with settings of
    its own, `store` among them."""
    log = home / f"{'-'.join(cards)}-{uuid.uuid4()}.log"
    ports = {name: (free_port(), free_port()) for name in cards}
    described = [
        [
            settings.pop("card", name),
            {
                "listen": f"127.0.0.1:{ports[name][0]}",
                "grpc": f"127.0.0.1:{ports[name][1]}",
                "push_allow": "127.0.0.0/8",
                "cancel_wait": "5",
                "max_body_bytes": "300000",
                "drain": "0.5",
                **settings,
            },
        ]
        for name, settings in cards.items()
    ]
    command = [sys.executable, str(_HERE / "agent_process.py"), json.dumps(described)]
    env = os.environ | {"OTEL_INSTRUMENTATION_A2A_SDK_ENABLED": "false"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
    return {name: Agent(port, grpc_port, process, log) for name, (port, grpc_port) in ports.items()}


class Issuer:
    """Issues tokens that the guarded agent trusts."""

    def __init__(self, home: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        jwk = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        path = home / "jwks.json"
        path.write_text(json.dumps({"keys": [jwk | {"kid": "k", "alg": "ES256", "use": "sig"}]}))
        self.settings = {
            "auth_issuer": "https://issuer.example",
            "auth_audience": "agents",
            "auth_jwks": str(path),
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
    replica = {"card": "full", "store": f"sqlite:///{home}/replicas.db"}
    cards = {"modest": {}, "strict": {}, "promising": {}, "guarded": {"card": "full", **issuer.settings}}
    own = {name: {**settings, "store": f"sqlite:///{home}/{name}.db"} for name, settings in cards.items()}
    with running(
        [start(home, {"one": dict(replica)}), start(home, {"two": dict(replica)}), start(home, own)]
    ) as found:
        yield found


@contextmanager
def cluster(home: Path, engines: dict[str, str]) -> Iterator[dict[str, Agent]]:
    """Two fronts ("one", "two") and two workers of the full agent, each a process of its own, on these engines."""
    roles = {"one": "front", "two": "front", "three": "worker", "four": "worker"}
    with running(
        [start(home, {name: {"card": "full", "role": role, **engines}}) for name, role in roles.items()]
    ) as found:
        yield found


@contextmanager
def running(processes: list[dict[str, Agent]]) -> Iterator[dict[str, Agent]]:
    """The agents of these processes, once all are ready; stopped at the end."""
    found = {name: agent for process in processes for name, agent in process.items()}
    try:
        deadline = time.monotonic() + 120
        while not all(agent.ready() for agent in found.values()):
            assert time.monotonic() < deadline, "the agents do not get ready"
            time.sleep(0.05)
        yield found
    finally:
        for agent in found.values():
            agent.process.terminate()
        for agent in found.values():
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


@cache
def _served_card(url: str) -> pb.AgentCard:
    return parse_agent_card(httpx.get(f"{url}/.well-known/agent-card.json").json())


async def connect(agent: Agent, binding: str, version: str = "1.0", *, streaming: bool = False) -> Client:
    """The SDK's own client of an agent, made from the card it serves, held to one binding and version."""
    card = pb.AgentCard()
    card.CopyFrom(_served_card(agent.url))
    kept = [
        i for i in card.supported_interfaces if (i.protocol_binding, i.protocol_version) == (binding, version)
    ]
    del card.supported_interfaces[:]
    card.supported_interfaces.extend(kept)
    assert kept, f"the card claims no {binding} {version}"
    config = ClientConfig(
        streaming=streaming,
        supported_protocol_bindings=[binding],
        httpx_client=httpx.AsyncClient(timeout=20, headers={"A2A-Version": version}, verify=False),
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
