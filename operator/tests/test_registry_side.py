"""The operator's side of the registry: what it refuses is told once, and nothing is kept of namespaces without agents."""

import asyncio
import logging

import pytest

from parley_operator.decision import Plan
from parley_operator.registering import Registering
from parley_operator.tables import Name, Tables
from parley_registry.client import NotPermitted, RegistryError, UnknownAgent, VersionInUse

OF = Name("team", "coder")


class FakeRefusingRegistry:
    """A registry that deletes nothing, for the reason given."""

    def __init__(self, error: RegistryError) -> None:
        self.error: RegistryError | None = error
        self.asked = 0

    async def delete(self, name: str, version: str | None) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


class FakeTables(Tables):
    """All namespaces are the one fake registry."""

    def __init__(self, registry: FakeRefusingRegistry) -> None:
        super().__init__("http://127.0.0.1:1", None, lambda _: None)
        self._fake = registry

    def at(self, namespace: str) -> FakeRefusingRegistry:  # type: ignore[override]
        return self._fake


async def test_a_deletion_that_the_registry_refuses_is_told_once_and_not_tried_at_every_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = FakeRefusingRegistry(NotPermitted("the operator has no right to team/coder"))
    registering = Registering(FakeTables(registry))
    plan = Plan(unpublish=("1.0.0+aa",))
    with caplog.at_level(logging.INFO, "parley_operator.registering"):
        told = [await registering.after(OF, plan) for _ in range(20)]
    events = [event for _, found in told for event in found]
    assert [(one.type, one.reason) for one in events] == [("Warning", "NotWithdrawn")]
    assert "no right to team/coder" in events[0].message
    assert len(caplog.records) == 1
    assert registry.asked == 1, "the next time is seconds later, then ever later"
    assert all(problem is None for problem, _ in told)


async def test_another_cause_is_told_too_and_what_is_not_to_go_any_more_is_forgotten() -> None:
    registry = FakeRefusingRegistry(NotPermitted("no"))
    registering = Registering(FakeTables(registry))
    plan = Plan(unpublish=("1.0.0+aa",))
    await registering.after(OF, plan)
    await registering.after(OF, Plan())
    registry.error = NotPermitted("still no")
    _, told = await registering.after(OF, plan)
    assert [one.message for one in told] == ["coder 1.0.0+aa stays in the registry: still no"]
    await registering.after(OF, Plan())
    registry.error = None
    assert await registering.after(OF, plan) == (None, [])
    assert registry.asked == 3


async def test_a_version_that_is_still_in_use_is_no_trouble() -> None:
    registry = FakeRefusingRegistry(VersionInUse("instances of it run"))
    assert await Registering(FakeTables(registry)).after(OF, Plan(unpublish=("1.0.0+aa",))) == (None, [])


async def test_the_client_of_a_namespace_goes_with_its_last_agent() -> None:
    closed: list[str] = []

    class Empty:
        def __init__(self, namespace: str) -> None:
            self._namespace = namespace

        async def versions(self, name: str) -> list[object]:
            raise UnknownAgent(name)

        async def aclose(self) -> None:
            closed.append(self._namespace)

    class Watched(Tables):
        def at(self, namespace: str) -> Empty:  # type: ignore[override]
            return self._clients.setdefault(namespace, Empty(namespace))  # type: ignore[arg-type,return-value]

    tables = Watched("http://127.0.0.1:1", None, lambda _: None)
    for number in range(50):
        namespace = f"team-{number}"
        await asyncio.gather(*(tables.read(Name(namespace, name)) for name in ("coder", "planner")))
        await tables.drop(Name(namespace, "coder"))
        assert namespace not in closed, "the planner is still there"
        await tables.drop(Name(namespace, "planner"))
        assert closed[-1] == namespace
    assert not tables._clients
    await tables.drop(OF)
