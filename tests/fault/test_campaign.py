"""Random faults under load, and nothing promised is broken: see README.md for what is done and how to replay it."""

import os
import random
from pathlib import Path

import pytest
from campaign.plan import plan
from campaign.run import campaign

pytestmark = pytest.mark.processes

NIGHTLY = bool(os.environ.get("PARLEY_FAULT_NIGHTLY"))
SEED = int(os.environ.get("PARLEY_FAULT_SEED", "0")) or (
    random.SystemRandom().randrange(1, 10_000) if NIGHTLY else 21
)
"""The same faults each time where a change is judged; others each night."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("profile", "seconds", "faults"),
    [
        ("sqlite", 15, 5),
        pytest.param("postgres", 30, 8, marks=pytest.mark.slow),
        pytest.param("rocketmq", 45, 12, marks=pytest.mark.cluster),
    ],
)
async def test_nothing_promised_is_broken(tmp_path: Path, profile: str, seconds: float, faults: int) -> None:
    outcome = await campaign(tmp_path, profile, SEED, seconds=seconds, faults=faults, clients=3)
    assert not outcome.text, outcome.text
    assert outcome.tasks > 5


@pytest.mark.skipif(not NIGHTLY, reason="the nightly run: make test-nightly")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("profile", ["postgres", pytest.param("rocketmq", marks=pytest.mark.cluster)])
async def test_nothing_promised_is_broken_by_a_hundred_faults(tmp_path: Path, profile: str) -> None:
    outcome = await campaign(tmp_path, profile, SEED, seconds=600, faults=100, clients=6)
    assert not outcome.text, outcome.text
    assert outcome.tasks > 100


def test_a_seed_is_one_plan() -> None:
    parts = {"replicas": ("f1", "w1"), "links": ("w1-postgres",), "servers": ("postgres",)}
    assert plan(7, 60, 100, **parts) == plan(7, 60, 100, **parts)
    assert plan(7, 60, 100, **parts) != plan(8, 60, 100, **parts)
    assert {fault.what for fault in plan(7, 60, 100, only=("kill",), **parts)} == {"kill"}
