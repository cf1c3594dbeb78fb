"""Random faults under load, and nothing promised is broken: see README.md for what is done and how to replay it."""

import os
import random
from pathlib import Path

import pytest
from campaign.plan import plan
from campaign.run import campaign

SEED = int(os.environ.get("PARLEY_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)


@pytest.mark.timeout(300)
async def test_nothing_promised_is_broken_on_sqlite(tmp_path: Path) -> None:
    outcome = await campaign(tmp_path, "sqlite", SEED, seconds=20, faults=6, clients=3)
    assert not outcome.text, outcome.text
    assert outcome.tasks > 5


def test_a_seed_is_one_plan() -> None:
    parts = {"replicas": ("f1", "w1"), "links": ("w1-postgres",), "servers": ("postgres",)}
    assert plan(7, 60, 100, **parts) == plan(7, 60, 100, **parts)
    assert plan(7, 60, 100, **parts) != plan(8, 60, 100, **parts)
    assert {fault.what for fault in plan(7, 60, 100, only=("kill",), **parts)} == {"kill"}
