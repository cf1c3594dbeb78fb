"""Search by meaning: with a real static model, and with an endpoint that can be away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from a2a.types import AgentCard
from fake_embeddings import FakeEmbeddings
from google.protobuf.json_format import ParseDict
from pyroaring import BitMap
from registry_service import RegistryThread, card_json

from parley_core.errors import ConfigurationError
from parley_registry.client import Page, RegistryClient
from parley_registry.searching.embedder import EmbeddingsUnavailable
from parley_registry.searching.embedders.endpoint import EndpointEmbedder
from parley_registry.searching.embedders.kept import KeptEmbedder
from parley_registry.searching.fusion import DEEP, fused
from parley_registry.searching.semantic import open_embedder
from parley_registry.searching.vectors import NearestVectors

pytestmark = pytest.mark.processes

CARDS = (
    ("mechanic", "Repairs defects in source code"),
    ("chef", "Recipes for a good meal"),
    ("interpreter", "Turns English documents into French"),
    ("clerk", "Files papers"),
)


@pytest.fixture
def fake() -> Iterator[FakeEmbeddings]:
    with FakeEmbeddings() as fake:
        yield fake


def registry_with(folder: Path, **settings: Any) -> RegistryThread:
    return RegistryThread(folder / "r.db", embeddings_cache=str(folder / "vectors.db"), **settings)


def with_fake(folder: Path, fake: FakeEmbeddings) -> RegistryThread:
    return registry_with(folder, embeddings=fake.url, embeddings_model="fake-model", embeddings_key="s3cret")


async def publish(client: RegistryClient, *cards: tuple[str, str], **more: Any) -> None:
    for name, description in cards:
        skills = [{"id": "work", "name": "Work", "description": "…", "tags": ["any"]}]
        card = card_json(name, description=description, skills=skills, **more)
        await client.publish(ParseDict(card, AgentCard()))


async def until(holds: Callable[[Page], bool], client: RegistryClient, **criteria: Any) -> Page:
    deadline = time.monotonic() + 15
    while True:
        page = await client.search(**criteria)
        if holds(page):
            return page
        assert time.monotonic() < deadline, (names(page), page.notes)
        await asyncio.sleep(0.05)


def names(page: Page) -> list[str]:
    return [hit.entry.name for hit in page.entries]


def complete(page: Page) -> bool:
    return not page.notes


def metric(registry: RegistryThread, name: str) -> float:
    told = httpx.get(f"{registry.url}/metrics", trust_env=False).text
    return float(next(line.split()[1] for line in told.splitlines() if line.startswith(f"{name} ")))


@pytest.fixture
async def client(tmp_path: Path, fake: FakeEmbeddings) -> AsyncIterator[RegistryClient]:
    with with_fake(tmp_path, fake) as registry:
        async with RegistryClient(registry.url) as client:
            await publish(client, *CARDS)
            await until(complete, client, text="warm up")
            yield client


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model in model2vec's format, made of the weights that the package wordllama brings."""
    import wordllama
    from model2vec import StaticModel
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    home = Path(str(wordllama.__file__)).parent
    weights = load_file(home / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    tokenizer = Tokenizer.from_file(str(home / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    folder = tmp_path_factory.mktemp("model")
    StaticModel(weights.astype(np.float32), tokenizer, normalize=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("fix a bug in the program", "mechanic"),
        ("make food for dinner", "chef"),
        ("translate to german language", "interpreter"),
    ],
)
async def test_a_real_local_model_finds_what_is_meant_without_a_word_in_common(
    tmp_path: Path, model: Path, asked: str, first: str
) -> None:
    with registry_with(tmp_path, embeddings=f"local:{model}") as registry:
        async with RegistryClient(registry.url) as client:
            await publish(client, *CARDS)
            page = await until(complete, client, text=asked)
            assert names(page)[:1] == [first]
            assert any(why.startswith(f"similar to “{asked}” (0.") for why in page.entries[0].reasons)
            plain = await client.search(text=asked, semantic=False)
            assert first not in names(plain)


async def test_words_and_meaning_make_one_order(client: RegistryClient) -> None:
    await publish(client, ("fixer", "Something else altogether"), ("fix all", "Repairs every bug"))
    page = await until(lambda page: complete(page) and len(page.entries) == 3, client, text="fix")
    assert names(page)[0] == "fix all"  # by name and by meaning
    assert set(names(page)[1:]) == {"fixer", "mechanic"}
    why = {hit.entry.name: hit.reasons for hit in page.entries}
    assert why["mechanic"] == ("similar to “fix” (0.98)",) or why["mechanic"][0].startswith(
        "similar to “fix”"
    )
    assert any(one.startswith("name matches") for one in why["fixer"])


async def test_filters_and_facets_hold_for_what_is_similar(client: RegistryClient) -> None:
    await publish(
        client, ("second chef", "Cooks a meal"), provider={"organization": "Inn", "url": "http://i/"}
    )
    page = await until(complete, client, text="dinner", provider="inn")
    assert names(page) == ["second chef"]
    assert page.total == 1
    assert page.facets["provider"] == {"Inn": 1}
    assert (await client.search(text="dinner", skill="no-such")).total == 0


async def test_pages_of_a_search_by_meaning_follow_each_other(client: RegistryClient) -> None:
    await publish(client, *((f"cook {number:02}", "Cooks a meal") for number in range(25)))
    at_once = await until(
        lambda page: complete(page) and page.total == 26, client, text="dinner cook", limit=100
    )
    paged, cursor = [], ""
    while True:
        page = await client.search(text="dinner cook", limit=7, cursor=cursor)
        paged += names(page)
        cursor = page.next
        if not cursor:
            break
    assert paged == names(at_once)
    assert len(set(paged)) == 26


async def test_a_card_that_changes_its_words_changes_its_meaning(client: RegistryClient) -> None:
    await publish(client, ("clerk", "Cooks a meal"), version="2.0.0")
    await until(lambda page: complete(page) and "clerk" in names(page), client, text="dinner")
    await client.delete("clerk")
    assert "clerk" not in names(await client.search(text="dinner"))


async def test_while_the_endpoint_is_away_words_are_searched_and_it_is_said(
    tmp_path: Path, fake: FakeEmbeddings
) -> None:
    fake.status = 503
    with with_fake(tmp_path, fake) as registry:
        async with RegistryClient(registry.url) as client:
            await publish(client, *CARDS)
            page = await client.search(text="recipe")
            assert names(page) == ["chef"]
            assert page.notes == ("searched by words alone: the embeddings cannot be had now",)
            assert metric(registry, "parley_registry_embeddings_down") == 1
            assert metric(registry, "parley_registry_embeddings_missing") == 4
            fake.status = 200
            page = await until(complete, client, text="dinner")
            assert names(page) == ["chef"]
            assert metric(registry, "parley_registry_embeddings_down") == 0
            assert metric(registry, "parley_registry_embeddings_missing") == 0


async def test_a_slow_endpoint_delays_one_search_and_no_more(tmp_path: Path, fake: FakeEmbeddings) -> None:
    with with_fake(tmp_path, fake) as registry:
        async with RegistryClient(registry.url) as client:
            await publish(client, *CARDS)
            await until(complete, client, text="warm up")
            fake.delay = 10.0
            began = time.monotonic()
            assert (await client.search(text="recipe")).notes
            assert time.monotonic() - began < 6
            began = time.monotonic()
            assert (await client.search(text="recipes")).notes
            assert time.monotonic() - began < 1.5
            fake.delay = 0.0


async def test_a_restart_makes_no_vector_again(tmp_path: Path, fake: FakeEmbeddings) -> None:
    for _ in range(2):
        with with_fake(tmp_path, fake) as registry:
            async with RegistryClient(registry.url) as client:
                await publish(client, *CARDS)
                await until(lambda page: complete(page) and names(page) == ["chef"], client, text="dinner")
    assert sum(fake.batches) == len(CARDS) + 2  # and each process asked for the query
    assert set(fake.keys) == {"Bearer s3cret"}


async def test_many_cards_are_sent_in_bounded_batches(tmp_path: Path, fake: FakeEmbeddings) -> None:
    with registry_with(tmp_path) as registry:
        async with RegistryClient(registry.url) as client:
            await publish(client, *((f"agent {number}", "Files papers") for number in range(150)))
    with with_fake(tmp_path, fake) as registry:
        async with RegistryClient(registry.url) as client:
            await until(complete, client, text="papers")
    assert max(fake.batches) == 64
    assert len(fake.batches) <= 10


async def test_a_card_that_the_model_refuses_is_found_by_its_words(
    tmp_path: Path, fake: FakeEmbeddings
) -> None:
    fake.refused = "Files papers"
    with registry_with(tmp_path) as registry:
        async with RegistryClient(registry.url) as client:
            await publish(client, *CARDS)
    with with_fake(tmp_path, fake) as registry:
        async with RegistryClient(registry.url) as client:
            assert names(await until(complete, client, text="dinner")) == ["chef"]
            assert names(await client.search(text="papers")) == ["clerk"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not json",
        b"[]",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": ["x"]}]}',
        b'{"data": [{"index": 1, "embedding": [1.0]}]}',
        b'{"data": [{"index": 0, "embedding": [1e999]}]}',
        b'{"data": [{"index": 0, "embedding": [[1.0]]}]}',
        b'{"data": {"index": 0}}',
        b"x" * (33 * 2**20),
    ],
)
async def test_an_answer_that_is_no_embedding_is_an_endpoint_away(
    fake: FakeEmbeddings, answer: bytes
) -> None:
    fake.answer = answer
    embedder = EndpointEmbedder(fake.url, "fake-model", "")
    with pytest.raises(EmbeddingsUnavailable):
        await embedder.embed(["a"], seconds=5)
    await embedder.aclose()


async def test_a_model_that_changes_behind_the_endpoint_is_noticed(
    tmp_path: Path, fake: FakeEmbeddings
) -> None:
    embedder = EndpointEmbedder(fake.url, "fake-model", "")
    await embedder.embed(["a"], seconds=5)
    fake.answer = b'{"data": [{"index": 0, "embedding": [1.0, 2.0]}]}'
    with pytest.raises(EmbeddingsUnavailable, match="were 4 numbers long and are now 2"):
        await embedder.embed(["b"], seconds=5)
    kept = KeptEmbedder(embedder, tmp_path / "v.db")
    await kept.aclose()


async def test_only_the_newest_vectors_are_kept(tmp_path: Path, fake: FakeEmbeddings) -> None:
    kept = KeptEmbedder(EndpointEmbedder(fake.url, "fake-model", ""), tmp_path / "v.db", most=3)
    for text in "abcd":
        await kept.embed([text], seconds=5)
    await kept.embed(["b", "c", "d"], seconds=5)
    assert fake.batches == [1, 1, 1, 1]
    await kept.embed(["a", "d"], seconds=5)
    assert fake.batches == [1, 1, 1, 1, 1]
    await kept.aclose()


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("local:/nowhere", "name the directory of a model2vec model"),
        ("somewhere", "use local:/path/to/model or http"),
        ("http://h/v1", "--embeddings-model"),
    ],
)
def test_an_address_that_is_no_embedder_is_refused(address: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        open_embedder(address, "", "")


def test_a_directory_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        open_embedder(f"local:{tmp_path}", "", "")


@pytest.mark.parametrize("size", [4, 64, 100, 256])
def test_the_nearest_are_found_among_those_asked_for(size: int) -> None:
    pick = np.random.default_rng(3)
    rows = pick.standard_normal((3000, size)).astype(np.float32)
    vectors = NearestVectors(size)
    for number, row in enumerate(rows):
        vectors.put(number, row)
    asked = rows[77] + 0.2 * pick.standard_normal(size).astype(np.float32)
    found = vectors.near(asked, BitMap(range(3000)), 5, 0.0)
    assert found[0][0] == 77
    true = rows @ asked / np.linalg.norm(rows, axis=1) / np.linalg.norm(asked)
    assert all(abs(true[number] - similarity) < 0.02 for number, similarity in found)
    few = BitMap([5, 6, 7, 5000])
    assert {number for number, _ in vectors.near(asked, few, 5, -1.0)} == {5, 6, 7}
    vectors.drop(77)
    assert 77 not in {number for number, _ in vectors.near(asked, BitMap(range(3000)), 5, 0.0)}
    assert vectors.near(asked, BitMap(), 5, 0.0) == []
    with pytest.raises(ValueError, match="dimensions"):
        vectors.put(0, np.ones(size + 1, np.float32))


def test_a_longer_order_changes_nothing_at_the_beginning() -> None:
    near = list(range(500, 560))
    short, long = fused(list(range(DEEP)), near), fused(list(range(DEEP + 300)), near)
    assert long[: len(short)] == short
    assert len({number for _, number in long}) == len(long)
