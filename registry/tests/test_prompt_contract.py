"""What every home of prompts promises: one suite over SQLite, PostgreSQL, the registry's service and Nacos."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from registry_service import RegistryThread

from parley_registry.backends.sql import SqlRecord
from parley_registry.client import BadRequest, RegistryClient, VersionConflict
from parley_registry.errors import PromptInUse, PromptRejected, RegistryError, UnknownPrompt
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.server import Nacos
from parley_registry.prompts.check import MAX_LABELS, check_prompt
from parley_registry.prompts.library import PromptLibrary
from parley_registry.prompts.prompt import AgentVersion, PromptKey, PromptVersion
from parley_registry.prompts.records.nacos_either import NacosPromptSource
from parley_registry.prompts.records.sql import SqlPrompts
from parley_registry.prompts.source import PromptSource, Wanted

CODER = AgentVersion("coder", "2.0.0")


@pytest.fixture(
    params=[
        "sqlite",
        "postgres",
        "service",
        pytest.param("nacos", marks=[pytest.mark.cluster, pytest.mark.timeout(180)]),
    ]
)
async def source(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PromptSource]:
    if request.param == "service":
        with RegistryThread(tmp_path / "r.db") as running:
            async with RegistryClient(running.url) as client:
                yield client.prompts
    elif request.param == "nacos":
        address = NacosAddress.parse(request.getfixturevalue("nacos_url"))
        async with Nacos(address) as nacos:
            yield NacosPromptSource(nacos)
    else:
        url = f"sqlite:///{tmp_path}/r.db"
        if request.param == "postgres":
            url = request.getfixturevalue("postgres_dsn")
        record = SqlRecord(url)
        await record.open()
        yield PromptLibrary(SqlPrompts(record.database))  # type: ignore[misc]
        await record.close()


@pytest.fixture
def space(request: pytest.FixtureRequest) -> str:
    """The namespace of the test: on Nacos one of its own."""
    if "nacos" in request.node.name:
        return NacosAddress.parse(request.getfixturevalue("nacos_url")).namespace
    return "team-a"


Make = Callable[..., PromptVersion]


@pytest.fixture
def make(space: str) -> Make:
    def made(
        version: str = "1.0.0", text: str = "Review this {{language}} code.", **more: Any
    ) -> PromptVersion:
        told = {"namespace": space, "name": "review", "version": version, "template": text, **more}
        return check_prompt(told, now=1.5)[0]

    return made


@pytest.fixture
def key(space: str) -> PromptKey:
    return PromptKey(space, "review")


async def test_a_version_is_kept_as_it_was_pushed(source: PromptSource, make: Make, key: PromptKey) -> None:
    pushed = make(
        text="请审查 {{code}} in {{language}}",
        variables=[{"name": "language", "default": "Python", "description": "of the code"}],
        description="Reviews a change",
        hints={"model": "m-1", "temperature": 0.2},
        author="ana",
    )
    done = await source.push(pushed)
    assert done.created
    kept = await source.version(key, "1.0.0")
    assert (kept.template, kept.variables, kept.hints, kept.author, kept.digest) == (
        pushed.template,
        pushed.variables,
        pushed.hints,
        "ana",
        pushed.digest,
    )
    assert kept.render(code="x = 1") == "请审查 x = 1 in Python"
    prompt = await source.get(key)
    assert (prompt.latest, prompt.description, prompt.labels, prompt.bindings) == (
        "1.0.0",
        "Reviews a change",
        {},
        {},
    )


async def test_a_version_never_changes_and_the_same_again_is_no_error(
    source: PromptSource, make: Make, key: PromptKey
) -> None:
    await source.push(make())
    assert not (await source.push(make())).created
    with pytest.raises(VersionConflict, match=r"1\.0\.0 is there with another text"):
        await source.push(make(text="Review it."))
    assert (await source.version(key, "1.0.0")).template == "Review this {{language}} code."


async def test_versions_come_highest_first_and_latest_is_the_highest_release(
    source: PromptSource, make: Make, key: PromptKey
) -> None:
    for version in ("1.9.0", "1.10.0", "2.0.0-rc.1", "1.10.0+build.7"):
        await source.push(make(version))
    prompt = await source.get(key)
    assert [note.version for note in prompt.versions] == ["2.0.0-rc.1", "1.10.0+build.7", "1.10.0", "1.9.0"]
    assert prompt.latest == "1.10.0+build.7"
    assert (await source.version(key, "1.10.0+build.7")).version == "1.10.0+build.7"


async def test_a_label_moves_between_versions(source: PromptSource, make: Make, key: PromptKey) -> None:
    await source.push(make("1.0.0"), ["production"])
    await source.push(make("1.1.0"), ["staging"])
    assert (await source.get(key)).labels == {"production": "1.0.0", "staging": "1.1.0"}
    moved = await source.label(key, "production", "1.1.0")
    assert moved.labels["production"] == "1.1.0"
    assert (await source.get(key)).chosen("production") == "1.1.0"
    await source.unlabel(key, "staging")
    await source.unlabel(key, "staging")
    with pytest.raises(UnknownPrompt, match="no label 'staging'"):
        (await source.get(key)).chosen("staging")
    with pytest.raises(UnknownPrompt, match=r"no version '9\.0\.0'"):
        await source.label(key, "production", "9.0.0")
    for wrong in ("latest", "Production"):
        with pytest.raises(PromptRejected):
            await source.label(key, wrong, "1.0.0")


async def test_an_agent_version_has_a_say_that_goes_before_labels(
    source: PromptSource, make: Make, key: PromptKey
) -> None:
    await source.push(make("1.2.0"), ["production"])
    await source.push(make("1.3.0"))
    await source.bind(key, CODER, "1.3.0")
    prompt = await source.get(key)
    assert prompt.chosen("production", CODER) == "1.3.0"
    assert prompt.chosen("production", AgentVersion("coder", "1.9.0")) == "1.2.0"
    await source.unbind(key, CODER)
    assert (await source.get(key)).chosen("production", CODER) == "1.2.0"
    with pytest.raises(PromptRejected) as refused:
        await source.bind(key, AgentVersion("", "two"), "1.3.0")
    assert [fault.field for fault in refused.value.faults] == ["agent", "agentVersion"]


async def test_a_version_in_use_cannot_be_deleted(source: PromptSource, make: Make, key: PromptKey) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        await source.push(make(version))
    await source.label(key, "production", "1.0.0")
    await source.bind(key, CODER, "1.1.0")
    with pytest.raises(PromptInUse, match="the label production"):
        await source.delete(key, "1.0.0")
    with pytest.raises(PromptInUse, match=r"coder@2\.0\.0"):
        await source.delete(key, "1.1.0")
    await source.delete(key, "1.2.0")
    with pytest.raises(UnknownPrompt):
        await source.version(key, "1.2.0")
    with pytest.raises(UnknownPrompt):
        await source.delete(key, "1.2.0")


async def test_a_deleted_prompt_is_gone_and_may_come_again(
    source: PromptSource, make: Make, key: PromptKey
) -> None:
    await source.push(make(), ["production"])
    await source.delete(key)
    with pytest.raises(UnknownPrompt, match="no prompt named 'review'"):
        await source.get(key)
    with pytest.raises(UnknownPrompt):
        await source.delete(key)
    await source.push(make(text="Another text."))
    assert (await source.version(key, "1.0.0")).template == "Another text."
    await source.delete(key, "1.0.0")
    with pytest.raises(UnknownPrompt):
        await source.get(key)


async def test_changes_made_at_once_are_all_kept(source: PromptSource, make: Make, key: PromptKey) -> None:
    await source.push(make("1.0.0"))
    await asyncio.gather(
        *(source.push(make(f"1.{minor}.0", f"Text {minor}")) for minor in range(1, 6)),
        *(source.label(key, f"label-{number}", "1.0.0") for number in range(5)),
    )
    prompt = await source.get(key)
    assert {note.version for note in prompt.versions} == {f"1.{minor}.0" for minor in range(6)}
    assert set(prompt.labels) == {f"label-{number}" for number in range(5)}


async def test_of_two_that_push_different_texts_as_one_version_one_is_refused(
    source: PromptSource, make: Make, key: PromptKey
) -> None:
    outcomes = await asyncio.gather(
        *(source.push(make("1.0.0", f"Text {number}")) for number in range(3)), return_exceptions=True
    )
    won = [one for one in outcomes if not isinstance(one, BaseException)]
    assert len(won) == 1
    assert all(isinstance(one, VersionConflict) for one in outcomes if isinstance(one, BaseException))
    assert (await source.version(key, "1.0.0")).template == won[0].version.template


async def test_a_list_is_searched_and_comes_in_pages(source: PromptSource, make: Make, space: str) -> None:
    for name, description in (("b", "Plans a change"), ("a", "Reviews 100% of a_change"), ("c", "Tests it")):
        await source.push(make(name=name, description=description))
    seen, cursor = [], ""
    while True:
        page = await source.list(space, limit=2, cursor=cursor)
        seen += [one.name for one in page.prompts]
        cursor = page.next
        if not cursor:
            break
    assert seen == ["a", "b", "c"]
    for text, names in (
        ("CHANGE", "ab"),
        ("change plans", "b"),
        ("100%", "a"),
        ("a_c", "a"),
        ("%", "a"),
        ("x", ""),
    ):
        found = await source.list(space, text)
        assert [one.name for one in found.prompts] == list(names), text
    with pytest.raises(BadRequest, match="cannot be continued"):
        await source.list(space, cursor="x")


async def test_the_number_of_labels_is_bounded(source: PromptSource, make: Make, key: PromptKey) -> None:
    await source.push(make(), [f"l{number}" for number in range(MAX_LABELS)])
    with pytest.raises(RegistryError, match="32 labels"):
        await source.label(key, "one-more", "1.0.0")


async def test_who_follows_is_told_of_what_there_is_and_of_each_change_within_a_second(
    source: PromptSource, make: Make, key: PromptKey
) -> None:
    if not hasattr(source, "follow"):
        pytest.skip("the database's own changes are followed through the service")
    await source.push(make("1.0.0"), ["production"])
    wanted = Wanted()
    wanted.add(key)
    other = PromptKey(key.namespace, "other")
    async with aclosing(source.follow(wanted)) as told:
        assert await anext(told) == key
        for label in ("one", "two"):
            await source.label(key, label, "1.0.0")
            async with asyncio.timeout(1.0):
                assert await anext(told) == key
            assert label in (await source.get(key)).labels
        waiting = asyncio.ensure_future(anext(told))
        await asyncio.sleep(0)
        wanted.add(other)
        await source.push(make(name="other"))
        async with asyncio.timeout(5.0):
            assert await waiting == other
