"""Paging while entries come, go and change between the pages: what stays as it is is given to whoever pages."""

import random

import numpy as np
import pytest
from registry_service import card_json

from parley_registry.entry import Key
from parley_registry.searching.document import document
from parley_registry.searching.index import Index
from parley_registry.searching.query import Query, read_cursor, write_cursor

QUERY = Query(text="common")


def put(index: Index, name: str, description: str) -> Key:
    key = Key("public", name, "1.0.0")
    digest = description.encode()
    index.put(key, digest, document("public", card_json(name, description=description)))
    index.set_state(key, latest=True, values={"health": "up"})
    return key


def commit(index: Index, *, settled: bool) -> None:
    index.commit()
    if settled:
        index.settle(now=True)


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("kinds", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_what_stays_is_given_once_while_hits_are_deleted(seed: int, kinds: int, settled: bool) -> None:
    chance = random.Random(seed)
    index = Index()
    numbers = chance.sample(range(1000), 400)
    keys = [put(index, f"agent {number:03}", "common" + " word" * (number % kinds)) for number in numbers]
    commit(index, settled=True)
    staying = set(chance.sample(keys, 200))
    going = set(keys) - staying
    seen: list[Key] = []
    after = None
    while True:
        found = index.search(QUERY, 10, after)
        seen += [key for key, _ in found.hits]
        if found.end is None:
            break
        after = read_cursor(QUERY, write_cursor(QUERY, found.end))
        assert after is not None
        gone = {after.key, *chance.sample(sorted(going), min(5, len(going)))} & going
        for key in gone:
            index.drop(key)
        going -= gone
        commit(index, settled=settled)
    assert [key for key in keys if key in staying and key not in seen] == []
    assert len(seen) == len(set(seen))
    index.close()


def test_a_hit_that_becomes_another_does_not_move_the_page() -> None:
    index = Index()
    keys = [put(index, f"agent {number:03}", "common") for number in range(100)]
    put(index, "agent 900", "common " * 3)
    commit(index, settled=True)
    page = index.search(QUERY, 10, None)
    assert page.end is not None
    put(index, page.end.key.name, "common" + " word" * 50)
    commit(index, settled=True)
    rest = [key for key, _ in index.search(QUERY, 200, page.end).hits]
    missing = set(keys) - set(rest) - {key for key, _ in page.hits}
    assert not missing


def test_what_stays_is_given_while_hits_by_meaning_are_deleted() -> None:
    index = Index(learns=True)
    keys = [put(index, f"agent {number:03}", "common") for number in range(300)]
    for key in keys:
        index.learn(key, b"common", np.ones(4, np.float32) / 2)
    commit(index, settled=True)
    staying = set(keys[::2])
    seen: list[Key] = []
    after = None
    while True:
        found = index.search(QUERY, 10, after, np.ones(4, np.float32) / 2)
        seen += [key for key, _ in found.hits]
        if found.end is None:
            break
        after = found.end
        if after.key not in staying:
            index.drop(after.key)
            commit(index, settled=True)
    assert staying - set(seen) == set()
    assert len(seen) <= 1.2 * len(set(seen))
