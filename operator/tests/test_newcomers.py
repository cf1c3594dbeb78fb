"""What of the registry has to be asked for an Agent that has just been made."""

import asyncio
from typing import Any

from a2a.types import AgentCard

from parley_operator.tables import Name, Tables
from parley_registry.client import Entry, Page, RegistryUnavailable, Rollout, UnknownAgent
from parley_registry.entry import Hit


def entry(name: str) -> Entry:
    card = AgentCard(name=name, version="1.0.0")
    return Entry("team", name, "1.0.0", True, "up", (), False, card, 0.0)


class FakeCountedRegistry:
    """A registry that counts how often it is asked."""

    def __init__(self, *names: str, more: str = "") -> None:
        self.names = set(names)
        self.more = more
        self.searchable = True
        self.searched = 0
        self.asked: list[str] = []

    async def search(self, **_: Any) -> Page:
        self.searched += 1
        await asyncio.sleep(0)
        if not self.searchable:
            raise RegistryUnavailable("there is no catalogue")
        hits = tuple(Hit(entry(name), 1.0, ()) for name in sorted(self.names))
        return Page(hits, {}, self.more, len(hits))

    async def versions(self, name: str) -> list[Entry]:
        self.asked.append(name)
        if name not in self.names:
            raise UnknownAgent(name)
        return [entry(name)]

    async def rollout(self, name: str) -> Rollout:
        return Rollout("team", name)


class FakeTables(Tables):
    """All namespaces are the one fake registry."""

    def __init__(self, registry: FakeCountedRegistry) -> None:
        super().__init__("http://127.0.0.1:1", None, lambda _: None)
        self._fake = registry

    def at(self, namespace: str) -> FakeCountedRegistry:  # type: ignore[override]
        return self._fake


async def test_many_new_agents_are_told_apart_from_those_that_are_there_by_one_look() -> None:
    registry = FakeCountedRegistry("there")
    tables = FakeTables(registry)
    names = ["there", *(f"new-{number}" for number in range(200))]
    found = await asyncio.gather(*(tables.read(Name("team", name), new=True) for name in names))
    assert [len(one.entries) for one in found] == [1] + [0] * 200
    assert registry.searched == 1
    assert registry.asked == ["there"]


async def test_who_is_not_new_is_asked_about_though_the_look_knew_nothing_of_it() -> None:
    registry = FakeCountedRegistry()
    tables = FakeTables(registry)
    assert (await tables.read(Name("team", "a"), new=True)).entries == ()
    registry.names.add("a")
    assert len((await tables.read(Name("team", "a"))).entries) == 1


async def test_who_was_heard_of_since_the_look_is_asked_about() -> None:
    registry = FakeCountedRegistry()
    tables = FakeTables(registry)
    await tables.read(Name("team", "b"), new=True)
    registry.names.add("a")
    tables._newcomers.heard_of("team", "a")
    assert len((await tables.read(Name("team", "a"), new=True)).entries) == 1


async def test_a_registry_with_more_than_one_look_shows_or_that_cannot_be_searched_is_asked_about_each() -> (
    None
):
    for registry in (FakeCountedRegistry(more="next"), FakeCountedRegistry()):
        registry.searchable = bool(registry.more)
        tables = FakeTables(registry)
        for name in ("a", "b"):
            assert (await tables.read(Name("team", name), new=True)).entries == ()
        assert registry.searched == 1
        assert registry.asked == ["a", "b"]
