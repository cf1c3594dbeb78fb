"""The rollout table: what it chooses, which tables are refused, and how those who wait for one are told."""

import asyncio
import math
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_service import RegistryProcess, RegistryThread, card_json

from parley_registry.client import (
    BadRequest,
    RegistryClient,
    Rollout,
    RolloutConflict,
    RolloutRejected,
    RolloutVersion,
)
from parley_registry.rollout import check_rollout

CONTEXTS = [f"context-{number}" for number in range(10_000)]
VERSIONS = ("1.0.0", "1.1.0", "2.0.0", "2.1.0-rc.1", "3.0.0+b.1")

weights = st.lists(st.integers(0, 10_000), min_size=2, max_size=5).map(
    lambda cuts: [
        (b - a) / 100 for a, b in zip([0, *sorted(cuts[:-1])], [*sorted(cuts[:-1]), 10_000], strict=True)
    ]
)


def table(*weights: float) -> Rollout:
    """A table of as many versions; the heaviest is Current."""
    current = max(range(len(weights)), key=weights.__getitem__)
    versions = (
        RolloutVersion(VERSIONS[index], "Current" if index == current else "Ramping", weight)
        for index, weight in enumerate(weights)
    )
    return Rollout("public", "coder", tuple(versions))


def chosen(rollout: Rollout) -> list[str]:
    return [rollout.choose(context) for context in CONTEXTS]


@settings(max_examples=20, deadline=None)
@given(weights)
def test_contexts_are_split_by_weight(weights: list[float]) -> None:
    rollout = table(*weights)
    check_rollout(rollout, VERSIONS)
    counts = Counter(chosen(rollout))
    for one in rollout.versions:
        share = one.weight / 100
        sigma = math.sqrt(len(CONTEXTS) * share * (1 - share))
        # Twenty tables of up to five versions are tried: one of them may well be two sigma off, five it may not.
        assert abs(counts[one.version] - len(CONTEXTS) * share) <= 5 * sigma


def test_an_even_split_is_within_two_sigma() -> None:
    for version, count in Counter(chosen(table(50, 50))).items():
        assert abs(count - 5_000) <= 2 * math.sqrt(10_000 * 0.25), version


@settings(max_examples=20, deadline=None)
@given(weights, weights)
def test_a_change_of_weights_moves_as_few_as_must(before: list[float], after: list[float]) -> None:
    size = min(len(before), len(after))
    if sum(before[:size]) == 0 or sum(after[:size]) == 0:
        return
    was, now = table(*_filled(before, size)), table(*_filled(after, size))
    moved = sum(a != b for a, b in zip(chosen(was), chosen(now), strict=True)) / len(CONTEXTS)
    must = sum(abs(a.weight - b.weight) for a, b in zip(was.versions, now.versions, strict=True)) / 200
    # Without memory no choice can promise less than 2 d / (1 + d) where d must move.
    assert moved <= 2 * must / (1 + must) + 0.03


def test_more_of_one_version_takes_from_the_others_and_moves_nothing_between_them() -> None:
    was, now = chosen(table(60, 30, 10)), chosen(table(48, 24, 28))
    assert {b for a, b in zip(was, now, strict=True) if a != b} == {VERSIONS[2]}


def test_a_version_without_weight_gets_no_new_contexts() -> None:
    rolled_back = Rollout(
        "public", "coder", (RolloutVersion("1.0.0", "Current", 100), RolloutVersion("1.1.0", "Draining"))
    )
    assert set(chosen(rolled_back)) == {"1.0.0"}
    was, now = chosen(table(60, 40)), chosen(rolled_back)
    assert all(b == a for a, b in zip(was, now, strict=True) if a == "1.0.0"), "who was there stays"


def test_a_context_stays_where_its_hash_puts_it() -> None:
    assert table(50, 50).choose("a conversation") == table(50, 50).choose("a conversation")
    assert Rollout("public", "coder").choose("a conversation") == ""
    assert table(50, 50).choose("\ud800") in VERSIONS
    split = Counter(table(50, 30, 20).choose(f"{number:04d}") for number in range(10))
    assert split == {"1.1.0": 6, "1.0.0": 3, "2.0.0": 1}, "another program must choose the same"


@pytest.mark.parametrize(
    ("versions", "faults"),
    [
        ((("1.0.0", "Current", 99),), ["versions: the weights sum up to 99"]),
        ((("1.0.0", "Ramping", 100),), ["versions: no versions are Current"]),
        (
            (("1.0.0", "Current", 50), ("1.1.0", "Current", 50)),
            ["versions: 2 versions are Current"],
        ),
        (
            (("1.0.0", "Current", 50), ("1.0.0", "Ramping", 50)),
            ["versions[0].version: 1.0.0 stands", "versions[1].version: 1.0.0 stands"],
        ),
        (
            (("1.0.0", "Current", 90), ("1.1.0", "Draining", 10)),
            ["versions[1].weight: must be 0 for a version that is Draining"],
        ),
        (
            (("1.0.0", "Current", 100), ("one", "Inactive", 0), ("9.0.0", "Drained", 0)),
            [
                "versions[1].version: 'one' is not a semantic version",
                "versions[2].version: 9.0.0 is not published",
            ],
        ),
        (
            (("1.0.0", "Current", 99.999), ("1.1.0", "Ramping", -1), ("2.0.0", "Going", 0)),
            ["versions[0].weight", "versions[1].weight", "versions[2].state", "versions: the weights"],
        ),
    ],
)
def test_a_table_is_refused_with_every_fault(
    versions: tuple[tuple[str, str, float], ...], faults: list[str]
) -> None:
    rollout = Rollout("public", "coder", tuple(RolloutVersion(*one) for one in versions))  # type: ignore[arg-type]
    with pytest.raises(RolloutRejected) as caught:
        check_rollout(rollout, VERSIONS)
    named = [str(fault) for fault in caught.value.faults]
    assert len(named) == len(faults)
    assert all(fault.startswith(start) for fault, start in zip(named, faults, strict=True)), named


async def test_a_table_is_set_and_read_through_the_service(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        assert await client.rollout("coder") == Rollout("public", "coder")
        await published(client)
        kept = await client.set_rollout(replace(table(90, 10), paused=True), 0)
        assert kept == await client.rollout("coder")
        assert kept.paused
        with pytest.raises(RolloutConflict):
            await client.set_rollout(table(80, 20), 0)
        with pytest.raises(RolloutRejected, match=r"versions\[0\]"):
            await client.set_rollout(
                Rollout("public", "coder", (RolloutVersion("8.0.0", "Current", 100),)), kept.revision
            )
        with pytest.raises(BadRequest, match="weight"):
            await client.set_rollout(table(150, -50), kept.revision)
        for odd in ("100", True):
            odd_table = Rollout("public", "coder", (RolloutVersion("1.0.0", "Current", odd),))  # type: ignore[arg-type]
            with pytest.raises(BadRequest, match="weight"):
                await client.set_rollout(odd_table, kept.revision)


async def test_who_waits_for_tables_has_each_within_a_second(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client, RegistryClient(registry.url) as front:
        await published(client)
        async with aclosing(front.watch_rollouts("coder")) as tables:
            now = await anext(tables)
            assert now == Rollout("public", "coder")
            for weight in (10, 50, 90):
                kept = await client.set_rollout(table(100 - weight, weight), now.revision)
                began = time.monotonic()
                now = await anext(tables)
                assert time.monotonic() - began <= 1.0
                assert now == kept
            await client.delete("coder")
            assert await anext(tables) == Rollout("public", "coder")


async def test_a_wait_for_tables_outlives_the_registry(tmp_path: Path) -> None:
    store = tmp_path / "registry.db"
    with RegistryProcess(store) as first:
        async with RegistryClient(first.url) as client, RegistryClient(first.url) as front:
            await published(client)
            async with aclosing(front.watch_rollouts("coder")) as tables:
                await anext(tables)
                first.kill()
                waiting = asyncio.ensure_future(anext(tables))
                with RegistryProcess(store, port=first.port):
                    kept = await client.set_rollout(table(70, 30), 0)
                    async with asyncio.timeout(15):
                        assert await waiting == kept


async def published(client: RegistryClient) -> None:
    for version in VERSIONS[:3]:
        await client.publish(ParseDict(card_json(version=version), AgentCard()))


def _filled(weights: list[float], size: int) -> list[float]:
    """The first of these weights, as large together as all were."""
    return [*weights[: size - 1], round(100 - sum(weights[: size - 1]), 2)]
