"""The registry service, called over HTTP."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import quote

from a2a.types import AgentCard
from google.protobuf.json_format import MessageToDict, ParseDict

from parley_core.bearer import Bearer, bearer
from parley_core.cardsignature import Signature
from parley_registry.audit import Audited
from parley_registry.calls import Calls
from parley_registry.criteria import Criteria, parameters
from parley_registry.entry import PUBLIC, Change, Entry, Hit, Instance, Page
from parley_registry.mcp.http import HttpMcpServers
from parley_registry.prompts.http import HttpPrompts
from parley_registry.reconnecting import reconnecting
from parley_registry.rollout import Rollout
from parley_registry.rollouts.http import HttpRollouts


class RegistryClient:
    """Calls to one registry, over one pool of connections, concerning the agents of one namespace. Use as an async context manager, or `aclose` it.

    Every call raises RegistryUnavailable when the registry cannot be reached within `timeout` seconds or
    fails, and NotAllowed when it does not accept `token`.
    """

    def __init__(
        self, url: str, *, namespace: str = PUBLIC, token: str | Bearer | None = None, timeout: float = 10.0
    ) -> None:
        self.url = url.rstrip("/")
        self.namespace = namespace
        self._calls = Calls(
            self.url, token=bearer(token) if isinstance(token, str) else token, timeout=timeout
        )
        self.prompts = HttpPrompts(self._calls)
        self.mcp = HttpMcpServers(self._calls)
        self._rollouts = HttpRollouts(self._calls, namespace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connections; watches end."""
        await self._calls.aclose()

    async def require(self) -> None:
        """Come back when the service answers. Raises RegistryUnavailable when it does not."""
        await self._calls.call("GET", "/healthz")

    async def publish(self, card: AgentCard, *, instance: Instance | None = None) -> Entry:
        """Publish `card` as version `card.version` of agent `card.name`, and announce a running instance of it.

        The same card again is the same entry, so a host may publish at every start. A release higher than
        all before it becomes latest.

        Raises CardRejected with every fault of the card, VersionConflict when the version was published
        with another card.
        """
        body: dict[str, Any] = {"namespace": self.namespace, "card": MessageToDict(card)}
        if instance:
            body["instance"] = {"id": instance.id, "url": instance.url}
        return await self._calls.ask(_entry, "POST", "/v1/agents", body)

    async def heartbeat(self, name: str, version: str, instance_id: str) -> None:
        """Say that an instance lives; due every 2 seconds, it counts as gone after 6.

        Raises UnknownInstance when the registry does not know it (it was down too long, or deleted): publish again.
        """
        await self._calls.call(
            "POST", f"{_instance_path(name, version, instance_id)}/heartbeat", query=self._here
        )

    async def withdraw(self, name: str, version: str, instance_id: str) -> None:
        """Say that an instance stops now. Withdrawing one that is not known changes nothing."""
        await self._calls.call("DELETE", _instance_path(name, version, instance_id), query=self._here)

    async def register_url(self, url: str, *, name: str = "") -> Entry:
        """Register an external agent by the URL of its card, or of its server (then the well-known path is used). With a
        `name`, only an agent that is called so, and only if the name is nobody else's: that holds for admins then too.

        Raises CardUnreachable when the card cannot be fetched from there, or may not be (a private address),
        CardRejected, VersionConflict, NameDiffers, NotOwner.
        """
        body = {"namespace": self.namespace, "url": url} | ({"name": name} if name else {})
        return await self._calls.ask(_entry, "POST", "/v1/external", body)

    async def get(self, name: str, version: str | None = None) -> Entry:
        """The latest version of an agent, or the one asked for. Raises UnknownAgent."""
        return await self._calls.ask(_entry, "GET", _agent_path(name, version), query=self._here)

    async def versions(self, name: str) -> list[Entry]:
        """All versions of an agent, highest first by SemVer 2. Raises UnknownAgent."""
        return await self._calls.ask(_versions, "GET", f"{_agent_path(name)}/versions", query=self._here)

    async def set_latest(self, name: str, version: str) -> Entry:
        """Make `version` the latest, for a roll back too. It stays so until a higher release than all is published.

        Raises UnknownAgent.
        """
        path = f"{_agent_path(name)}/latest"
        return await self._calls.ask(_entry, "PUT", path, {"version": version}, self._here)

    async def delete(self, name: str, version: str | None = None) -> None:
        """Delete one version, or the agent with all its versions. A host still running publishes itself again.

        Raises UnknownAgent; for one version LatestInUse while it is the latest of several, VersionInUse while instances of
        it run or it has a weight in the rollout table.
        """
        await self._calls.call("DELETE", _agent_path(name, version), query=self._here)

    async def transfer(self, name: str, owner: str) -> Entry:
        """Hand an agent over to another owner (issuer and subject with | between), or with "" to nobody.

        Raises UnknownAgent, NotPermitted, and NotOwner for who is neither its owner nor an admin.
        """
        path = f"{_agent_path(name)}/owner"
        return await self._calls.ask(_entry, "PUT", path, {"owner": owner}, self._here)

    async def trail(
        self,
        *,
        name: str = "",
        everywhere: bool = False,
        actor: str = "",
        action: str = "",
        before: int = 0,
        limit: int = 100,
    ) -> list[Audited]:
        """Who changed what, newest first: of one agent, of all in the namespace, or in all namespaces. `before` is the
        number of the line after which to go on. Raises NotPermitted."""
        wanted = {
            "namespace": "" if everywhere else self.namespace,
            "name": name,
            "actor": actor,
            "action": action,
            "before": str(before),
            "limit": str(limit),
        }
        return await self._calls.ask(_trail, "GET", "/v1/audit", query={k: v for k, v in wanted.items() if v})

    async def search(self, **criteria: Unpack[Criteria]) -> Page:
        """The entries for which all of the criteria hold, best first; without any, all of the namespace.

        `text=` searches names, skills, tags, examples and descriptions; the others are exact values: `skill=`, `tag=`,
        `health=` and more, see `Criteria`. Raises BadRequest for a value out of range, a criterion that there is not, or
        a cursor of another search.
        """
        query = parameters({"namespace": self.namespace, **criteria})
        return await self._calls.ask(_page, "GET", "/v1/agents", query=query)

    async def rollout(self, name: str) -> Rollout:
        """The rollout table of an agent; one without versions, of revision 0, when none was set."""
        return await self._rollouts.get(name)

    async def set_rollout(self, rollout: Rollout, expected_revision: int) -> Rollout:
        """Set the rollout table of the agent `rollout.name`; what is kept then, with its new revision.

        `expected_revision` is that of the table it replaces. Raises RolloutConflict when somebody else changed it
        meanwhile, RolloutRejected with every fault of it, NotOwner.
        """
        return await self._rollouts.set(rollout, expected_revision)

    def watch_rollouts(self, name: str) -> AsyncGenerator[Rollout, None]:
        """The rollout table of an agent now, then each new one within a second; ends only when the iteration is given
        up. A lost connection is made again. Raises NotAllowed, BadRequest."""
        return self._rollouts.watch(name)

    async def watch(self, *, after: int | None = None) -> AsyncGenerator[Change, None]:
        """Changes as they happen, each once and in order; ends only when the iteration is given up.

        Starts after change number `after` (0: all that is still kept), by default with what happens from now
        on. A lost connection is made again and resumed. Raises NotAllowed, BadRequest.
        """
        async with aclosing(reconnecting(lambda: self._calls.changes(after))) as changes:
            async for change in changes:
                after = change.seq
                if change.kind != "start":
                    yield change

    @property
    def _here(self) -> dict[str, str]:
        return {} if self.namespace == PUBLIC else {"namespace": self.namespace}


def _entry(told: Mapping[str, Any], *, stale: bool = False) -> Entry:
    return Entry(
        namespace=told["namespace"],
        name=told["name"],
        version=told["version"],
        latest=told["latest"],
        health=told["health"],
        instances=tuple(Instance(one["id"], one["url"]) for one in told["instances"]),
        external=told["external"],
        source=told["source"],
        card=ParseDict(told["card"], AgentCard(), ignore_unknown_fields=True),
        updated=told["updated"],
        signature=Signature(
            told["signature"]["state"], told["signature"]["keyId"], told["signature"]["signer"]
        ),
        owner=told["owner"],
        stale=told.get("stale", stale),
    )


def _versions(told: Mapping[str, Any]) -> list[Entry]:
    return [_entry(one, stale=told["stale"]) for one in told["versions"]]


def _trail(told: Mapping[str, Any]) -> list[Audited]:
    return [Audited(**line) for line in told["lines"]]


def _page(told: Mapping[str, Any]) -> Page:
    return Page(
        entries=tuple(
            Hit(_entry(hit["entry"], stale=told["stale"]), hit["score"], tuple(hit["reasons"]))
            for hit in told["entries"]
        ),
        facets=told["facets"],
        next=told["next"],
        total=told["total"],
        notes=tuple(told["notes"]),
    )


def _agent_path(name: str, version: str | None = None) -> str:
    path = f"/v1/agents/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def _instance_path(name: str, version: str, instance_id: str) -> str:
    return f"{_agent_path(name, version)}/instances/{quote(instance_id, safe='')}"
