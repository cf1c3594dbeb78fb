"""Who may do what at a registry that asks for tokens: names have owners, rights come with the token, and all is noted."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from a2a.types import AgentCard
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.json_format import ParseDict
from jwt.algorithms import ECAlgorithm
from registry_service import RegistryThread, card_json

from parley_core.errors import ConfigurationError
from parley_registry.audit import Actor
from parley_registry.client import Instance, RegistryClient, UnknownAgent
from parley_registry.entry import Agent
from parley_registry.errors import NotOwner, NotPermitted
from parley_registry.prompts.prompt import AgentVersion, PromptKey, PromptVersion
from parley_registry.rights import Caller, Rights, caller

ISSUER = "https://issuer.example"
HERE = Instance("one", "http://127.0.0.1:9991")


class Issuer:
    """Issues tokens that the registry trusts."""

    def __init__(self, home: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        path = home / "issuer.json"
        jwk = {**ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True), "kid": "k", "alg": "ES256"}
        path.write_text(json.dumps({"keys": [jwk]}))
        self.settings = {"auth_issuer": ISSUER, "auth_audience": "registry", "auth_jwks": str(path)}

    def token(self, subject: str, rights: list[str] | None = None) -> str:
        claims: dict[str, Any] = {"iss": ISSUER, "aud": "registry", "sub": subject, "exp": time.time() + 600}
        if rights is not None:
            claims["parley_rights"] = rights
        return jwt.encode(claims, self._key, "ES256", headers={"kid": "k"})


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def registry(tmp_path: Path, issuer: Issuer) -> Iterator[RegistryThread]:
    with RegistryThread(tmp_path / "registry.db", ttl=30, **issuer.settings) as running:
        yield running


@pytest.fixture
def at(registry: RegistryThread, issuer: Issuer) -> Callable[..., RegistryClient]:
    """A client of whoever is named, with the rights in the token if any are given."""

    def client(subject: str, *rights: str, namespace: str = "public") -> RegistryClient:
        token = issuer.token(subject, list(rights) or None)
        return RegistryClient(registry.url, token=token, namespace=namespace)

    return client


def card(name: str = "coder", version: str = "1.0.0", **more: Any) -> AgentCard:
    return ParseDict(card_json(name, version, **more), AgentCard())


async def test_a_name_belongs_to_who_publishes_it_first(at: Callable[..., RegistryClient]) -> None:
    async with at("ann") as ann, at("bob") as bob:
        entry = await ann.publish(card(), instance=HERE)
        assert entry.owner == f"{ISSUER}|ann"
        await ann.publish(card(version="1.1.0"))
        for refused in (
            bob.publish(card(version="2.0.0")),
            bob.publish(card(), instance=Instance("two", "http://127.0.0.1:9992")),
            bob.set_latest("coder", "1.0.0"),
            bob.delete("coder"),
            bob.heartbeat("coder", "1.0.0", "one"),
            bob.withdraw("coder", "1.0.0", "one"),
            bob.transfer("coder", f"{ISSUER}|bob"),
        ):
            with pytest.raises(NotOwner, match="another owner"):
                await refused
        await ann.heartbeat("coder", "1.0.0", "one")
        assert [one.id for one in (await bob.get("coder", "1.0.0")).instances] == ["one"]
        assert (await bob.get("coder")).version == "1.1.0", "everybody may read"


async def test_a_name_that_looks_like_anothers_or_is_reserved_is_not_taken(
    at: Callable[..., RegistryClient],
) -> None:
    async with at("ann") as ann, at("bob") as bob, at("root", "admin:*/*") as root:
        await ann.publish(card("coder"))
        for name in ("Coder", "c0der", "c\u043eder"):
            with pytest.raises(NotOwner, match="can be taken for 'coder'"):
                await bob.publish(card(name))
        for name in ("parley-coder", "Parley", "pаrley-x"):
            with pytest.raises(NotPermitted, match="reserved"):
                await bob.publish(card(name))
        await root.publish(card("parley-coder"))
        await root.transfer("parley-coder", f"{ISSUER}|bob")
        await bob.publish(card("parley-coder", "1.1.0"))


async def test_a_token_has_the_rights_that_it_names_and_no_others(at: Callable[..., RegistryClient]) -> None:
    async with at("ann", "team-a/*", namespace="team-a") as ann:
        await ann.publish(card("coder"))
    async with at("ann", "team-a/*", namespace="team-b") as ann:
        with pytest.raises(NotPermitted, match="ann has no right to team-b/coder: the claim 'parley_rights'"):
            await ann.publish(card("coder"))
    async with at("ann", "public/helper-*") as ann:
        await ann.publish(card("helper-1"))
        with pytest.raises(NotPermitted):
            await ann.publish(card("coder"))


async def test_an_admin_changes_what_others_own_and_hands_it_over(at: Callable[..., RegistryClient]) -> None:
    async with at("ann") as ann, at("bob") as bob, at("root", "admin:public/*") as root:
        await ann.publish(card())
        assert (await root.publish(card(version="1.1.0"))).owner == f"{ISSUER}|ann"
        assert (await root.transfer("coder", f"{ISSUER}|bob")).owner == f"{ISSUER}|bob"
        await bob.publish(card(version="1.2.0"))
        with pytest.raises(NotOwner):
            await ann.publish(card(version="1.3.0"))
        assert (await bob.transfer("coder", f"{ISSUER}|ann")).owner == f"{ISSUER}|ann"
        with pytest.raises(UnknownAgent):
            await root.transfer("nobody", "x")
    async with at("root", "admin:public/*", namespace="team-a") as root:
        with pytest.raises(NotPermitted):
            await root.publish(card())


async def test_the_trail_says_who_did_what_and_who_was_refused_once(
    at: Callable[..., RegistryClient],
) -> None:
    async with at("ann") as ann, at("bob") as bob, at("root", "admin:*/*") as root:
        await ann.publish(card(), instance=HERE)
        await ann.publish(card(version="1.1.0"))
        await ann.set_latest("coder", "1.0.0")
        for _ in range(3):
            with pytest.raises(NotOwner):
                await bob.delete("coder")
        await root.transfer("coder", f"{ISSUER}|bob")
        await bob.delete("coder", "1.1.0")
        lines = await bob.trail(name="coder")
        assert [(one.actor.partition("|")[2], one.action, one.version) for one in reversed(lines)] == [
            ("ann", "publish", "1.0.0"),
            ("ann", "publish", "1.1.0"),
            ("ann", "latest", "1.0.0"),
            ("bob", "refused", ""),
            ("root", "owner", ""),
            ("bob", "delete", "1.1.0"),
        ]
        first, refused = lines[-1], lines[2]
        assert (first.remote, first.detail) == ("127.0.0.1", "one")
        assert len(first.after) == 64
        assert lines[0].before == lines[-2].after, "what was deleted is known by its digest"
        assert refused.detail.startswith("delete: coder belongs to another owner")
        assert "its rollouts too" in refused.detail, "what is said fits whatever was refused"
        assert lines[1].before.endswith("|ann")
        assert lines[1].after.endswith("|bob")
        assert await root.trail(everywhere=True, limit=6) == lines
        assert await root.trail(actor=f"{ISSUER}|root", action="owner") == [lines[1]]
        assert await root.trail(name="coder", before=lines[3].seq) == lines[4:]


async def test_the_trail_is_for_the_owner_and_for_admins(at: Callable[..., RegistryClient]) -> None:
    async with at("ann") as ann, at("bob") as bob, at("root", "admin:public/*") as root:
        await ann.publish(card())
        assert await ann.trail(name="coder")
        assert await root.trail()
        for refused in (
            bob.trail(name="coder"),
            bob.trail(name="nobody"),
            ann.trail(),
            root.trail(everywhere=True),
        ):
            with pytest.raises(NotPermitted, match="admin:"):
                await refused


async def test_without_tokens_everybody_is_the_one_local_owner(tmp_path: Path) -> None:
    with RegistryThread(tmp_path / "local.db") as local:
        async with RegistryClient(local.url) as client:
            for name in ("coder", "c0der", "parley-x"):
                assert (await client.publish(card(name))).owner == ""
            await client.delete("coder")
            assert [one.action for one in await client.trail(name="coder")] == ["delete", "publish"]
            assert {one.actor for one in await client.trail(everywhere=True)} == {""}


# -- rights themselves


@pytest.fixture
def who() -> Iterator[Callable[..., None]]:
    """Makes somebody the caller."""
    token = caller.set(Caller())

    def be(subject: str, *claimed: str, claim: bool = True) -> None:
        caller.set(Caller(f"i|{subject}", subject, claimed if claim else None, "10.0.0.1", True))

    yield be
    caller.reset(token)


@pytest.mark.parametrize(
    ("claimed", "agent", "may"),
    [
        (["*/*"], "public/coder", True),
        (["publish:public/coder"], "public/coder", True),
        (["public/coder"], "public/coder-2", False),
        (["public/code?"], "public/coder", False),
        (["team-*/*"], "team-a/x", True),
        (["team-*/*"], "public/team-a", False),
        (["public/[a]"], "public/[a]", True),
        (["public/[a]"], "public/a", False),
        (["read:public/*", "nonsense", "/"], "public/coder", False),
        ([], "public/coder", False),
        (["admin:public/*"], "public/coder", True),
    ],
)
def test_a_right_covers_what_its_pattern_says(
    who: Callable[..., None], claimed: list[str], agent: str, may: bool
) -> None:
    rights = Rights([], [], "parley_rights")
    who("ann", *claimed)
    namespace, _, name = agent.partition("/")
    if may:
        found = rights.actor(Agent(namespace, name))
        assert found == Actor("i|ann", "10.0.0.1", admin=claimed[0].startswith("admin"))
    else:
        with pytest.raises(NotPermitted):
            rights.actor(Agent(namespace, name))


def test_who_has_no_claim_has_what_is_granted_to_the_subject(who: Callable[..., None]) -> None:
    granted = ["system:serviceaccount:team-a:*=team-a/* public/shared", "ops=admin:*/*"]
    rights = Rights(granted, [], "parley_rights")
    who("system:serviceaccount:team-a:coder", claim=False)
    for agent in (Agent("team-a", "coder"), Agent("public", "shared")):
        assert not rights.actor(agent).admin
    with pytest.raises(NotPermitted, match="no claim 'parley_rights'"):
        rights.actor(Agent("public", "coder"))
    who("ops", claim=False)
    assert rights.actor(Agent("public", "coder")).admin
    who("ops")  # a claim that lists nothing counts, whatever is granted
    with pytest.raises(NotPermitted, match="lists nothing"):
        rights.actor(Agent("public", "coder"))


@pytest.mark.parametrize("grant", ["ann", "=team/*", "ann=team", "ann=everything:a/b"])
def test_a_grant_that_is_none_is_refused_at_the_start(grant: str) -> None:
    with pytest.raises(ConfigurationError, match="--grants"):
        Rights([grant], [], "parley_rights")


# -- what else has a name

PROMPT = PromptVersion("public", "review", "1.0.0", "Review {{what}}.")


async def test_a_prompt_belongs_to_who_pushed_it_first(at: Callable[..., RegistryClient]) -> None:
    key = PromptKey("public", "review")
    async with at("ann") as ann, at("bob") as bob, at("eve", "team-a/*") as eve:
        await ann.prompts.push(PROMPT, ["production"])
        for refused in (
            bob.prompts.push(replace(PROMPT, version="1.1.0")),
            bob.prompts.label(key, "production", "1.0.0"),
            bob.prompts.unlabel(key, "production"),
            bob.prompts.bind(key, AgentVersion("coder", "1.0.0"), "1.0.0"),
            bob.prompts.delete(key),
        ):
            with pytest.raises(NotOwner, match="belongs to another owner"):
                await refused
        with pytest.raises(NotPermitted):
            await eve.prompts.push(replace(PROMPT, name="other"))
        assert (await bob.prompts.get(key)).labels["production"] == "1.0.0"
        await ann.prompts.push(replace(PROMPT, version="1.1.0", template="Review {{what}} well."))
        await ann.prompts.delete(key)
        assert (await bob.prompts.push(PROMPT)).created, "a name that was given up is free"


async def test_the_trail_has_what_is_done_to_prompts(at: Callable[..., RegistryClient]) -> None:
    async with at("root", "admin:*/*") as root:
        await root.prompts.push(PROMPT, ["production"])
        await root.prompts.label(PromptKey("public", "review"), "canary", "1.0.0")
        lines = await root.trail(action="prompt")
        assert [(one.name, one.version, one.detail) for one in reversed(lines)] == [
            ("review", "1.0.0", "pushed as production"),
            ("review", "1.0.0", "label canary"),
        ]
