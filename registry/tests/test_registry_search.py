"""Search: any mix of criteria, ranked with reasons, counted by facet, paged to the end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from registry_service import RegistryThread, card_json

from parley_registry.client import BadRequest, Instance, Page, RegistryClient
from parley_registry.entry import Key
from parley_registry.searching.document import document
from parley_registry.searching.facets import TOP, Values
from parley_registry.searching.index import Index
from parley_registry.searching.query import Query, read_cursor, write_cursor


def skill(id: str, *tags: str, name: str = "Skill", **more: Any) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "name": name, "description": "Does it", "tags": list(tags or ("any",)), **more}


CARDS = (
    card_json("coder"),
    card_json("coder", "1.1.0"),
    card_json(
        "painter",
        description="Paints pictures of recipes",
        provider={"organization": "Studio Ünal", "url": "https://studio.example"},
        capabilities={"pushNotifications": True, "extensions": [{"uri": "https://ext.example/v1"}]},
        defaultInputModes=["text/*"],
        defaultOutputModes=["image/png"],
        skills=[skill("paint", "image"), skill("sketch", "image", outputModes=["image/svg+xml"])],
        supportedInterfaces=[
            {"url": "h:1", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
            {"url": "http://h/", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        ],
    ),
    card_json(
        "recipe finder", description="Finds recipes for cooking", skills=[skill("find-recipe", "cooking")]
    ),
)


@pytest.fixture
async def client(registry: RegistryThread) -> AsyncIterator[RegistryClient]:
    async with RegistryClient(registry.url) as client:
        for card in CARDS:
            await client.publish(ParseDict(card, AgentCard()))
        await client.publish(ParseDict(CARDS[1], AgentCard()), instance=Instance("i", "http://127.0.0.1:1"))
        yield client


def names(page: Page) -> list[str]:
    return [f"{hit.entry.name} {hit.entry.version}" for hit in page.entries]


async def test_without_criteria_all_are_listed_latest_first_then_by_name(client: RegistryClient) -> None:
    page = await client.search()
    assert names(page) == ["coder 1.1.0", "painter 1.0.0", "recipe finder 1.0.0", "coder 1.0.0"]
    assert page.entries[-1].reasons == ("an older version",)
    assert page.total == 4


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({"skill": "PAINT"}, ["painter 1.0.0"]),
        ({"tag": "image"}, ["painter 1.0.0"]),
        ({"capability": "streaming", "health": "up"}, ["coder 1.1.0"]),
        ({"extension": "https://ext.example/v1"}, ["painter 1.0.0"]),
        ({"input_mode": "text/plain", "output_mode": "image/svg+xml"}, ["painter 1.0.0"]),
        ({"provider": "studio ünal"}, ["painter 1.0.0"]),
        ({"binding": "GRPC"}, ["painter 1.0.0"]),
        ({"binding": "GRPC", "protocol_version": "0.3"}, []),
        ({"binding": "JSONRPC", "protocol_version": "0.3"}, ["painter 1.0.0"]),
        ({"text": "Unal"}, ["painter 1.0.0"]),
        ({"text": "cook"}, ["recipe finder 1.0.0"]),
        ({"text": "reci"}, ["recipe finder 1.0.0", "painter 1.0.0"]),
        ({"text": "recipe picture"}, ["painter 1.0.0"]),
        ({"text": "recipe", "tag": "cooking"}, ["recipe finder 1.0.0"]),
        ({"text": "edit code"}, ["coder 1.1.0", "coder 1.0.0"]),
        ({"text": "nowhere"}, []),
        ({"text": "?!"}, []),
        ({"text": 'a" OR (b: *'}, []),
    ],
)
async def test_all_that_is_given_holds_for_every_hit(
    client: RegistryClient, criteria: dict[str, str], found: list[str]
) -> None:
    page = await client.search(**criteria)  # type: ignore[arg-type]
    assert names(page) == found
    assert page.total == len(found)


async def test_a_hit_says_why(client: RegistryClient) -> None:
    page = await client.search(text="find", skill="find-recipe", health="unknown")
    assert page.entries[0].reasons == (
        "name matches “finder”",
        "matched skill find-recipe “find”",
        "matched skill find-recipe",
        "matched health unknown",
    )


async def test_facets_count_all_matches(client: RegistryClient) -> None:
    page = await client.search(tag="image", limit=1)
    assert page.facets["skill"] == {"paint": 1, "sketch": 1}
    assert page.facets["outputMode"] == {"image/png": 1, "image/svg+xml": 1}
    everything = (await client.search(limit=1)).facets
    assert everything["health"] == {"unknown": 3, "up": 1}
    assert everything["binding"] == {"JSONRPC": 4, "GRPC": 1}


async def test_what_was_published_is_found_at_once_and_what_was_deleted_is_not(
    client: RegistryClient,
) -> None:
    for number in range(5):
        await client.publish(ParseDict(card_json(f"fresh {number}"), AgentCard()))
        assert f"fresh {number} 1.0.0" in names(await client.search(text=f"fresh {number}"))
    await client.delete("fresh 3")
    assert "fresh 3 1.0.0" not in names(await client.search(text="fresh"))
    await client.set_latest("coder", "1.0.0")
    assert names(await client.search(skill="edit-code", text="coder"))[0] == "coder 1.0.0"


async def test_a_cursor_of_another_search_is_refused(client: RegistryClient) -> None:
    page = await client.search(limit=1)
    with pytest.raises(BadRequest, match="another search"):
        await client.search(limit=1, tag="image", cursor=page.next)
    with pytest.raises(BadRequest, match="not a cursor"):
        await client.search(cursor=page.next[:-3])


@pytest.mark.parametrize("text", ["", "common", "word common "])
@pytest.mark.parametrize("size", [1, 7, 50])
def test_paging_gives_every_match_once_in_one_order(text: str, size: int) -> None:
    index = Index()
    for number in range(900):
        card = card_json(f"agent {number:03}", description="word " * (number % 5) + "common")
        index.put(Key("public", card["name"], "1.0.0"), b"-", document("public", card))
        index.set_state(Key("public", card["name"], "1.0.0"), latest=number % 4 != 0, values={"health": "up"})
    index.commit()
    query = Query(text=text)
    at_once = [key for key, _ in index.search(query, 900, None).hits]
    paged, after = [], None
    while True:
        found = index.search(query, size, after)
        paged += [key for key, _ in found.hits]
        if found.end is None:
            break
        after = read_cursor(query, write_cursor(query, found.end))
    assert paged == at_once
    assert len(set(paged)) == found.total
    index.close()


def test_paging_goes_on_although_the_last_hit_has_gone() -> None:
    index = Index()
    for number in range(50):
        card = card_json(f"agent {number:03}", description="x " * number)
        index.put(Key("public", card["name"], "1.0.0"), b"-", document("public", card))
        index.set_state(Key("public", card["name"], "1.0.0"), latest=True, values={"health": "up"})
    index.commit()
    page = index.search(Query(), 10, None)
    index.drop(Key("public", "agent 009", "1.0.0"))
    index.commit()
    assert index.search(Query(), 1, page.end).hits[0][0] == Key("public", "agent 010", "1.0.0")
    index.close()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 60), max_size=6, unique=True), min_size=1, max_size=60),
    st.sets(st.integers(0, 59)),
    st.booleans(),
)
def test_facet_counts_are_exact_whichever_way_they_are_made(
    documents: list[list[int]], wanted: set[int], by_bitmap: bool
) -> None:
    from array import array

    import parley_registry.searching.facets as facets

    values = Values(("tag",))
    of = {n: array("I", [values.add("tag", f"t{v}", n) for v in has]) for n, has in enumerate(documents)}
    matches = BitMap(n for n in wanted if n < len(documents))
    few, facets._FEW = facets._FEW, -1 if by_bitmap else 10**9
    try:
        told = values.count(matches, ("tag",), ("tag",), of)["tag"]
    finally:
        facets._FEW = few
    true: dict[str, int] = {}
    for n in matches:
        for v in documents[n]:
            true[f"t{v}"] = true.get(f"t{v}", 0) + 1
    assert sorted(told.values(), reverse=True) == sorted(true.values(), reverse=True)[:TOP]
    assert all(true[label] == count for label, count in told.items())


def test_an_index_forgets_what_is_dropped(tmp_path: Path) -> None:
    index = Index()
    for round_ in range(3):
        card = card_json("a", description=f"round{round_}")
        index.put(Key("public", "a", "1.0.0"), b"%d" % round_, document("public", card))
        index.set_state(Key("public", "a", "1.0.0"), latest=True, values={"health": "up"})
        index.commit()
    assert index.search(Query(text="round1 "), 10, None).total == 0
    assert index.search(Query(text="round2 "), 10, None).facets["health"] == {"up": 1}
    assert len(index.search(Query(text="round2 "), 10, None).hits) == 1
    index.close()
