"""Search of the registry: time by mixes of criteria (`registry_search.py` shows each), memory, and fresh changes."""

import asyncio
import tempfile
import time
from pathlib import Path

from registry_corpus import Vocabulary
from registry_search import CHANGES, GOAL_MB, GOAL_MS, GOAL_VISIBLE, Service, fill, visible
from registry_search import measure as searches
from scale import Scale
from table import Row


async def measure(scale: Scale) -> list[Row]:
    """The slowest mix by the clock and by processor time, the middle one, memory, and how soon a change is found."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "registry.db"
        vocabulary = Vocabulary()
        await fill(store, scale.cards, vocabulary)
        return await asyncio.to_thread(_measured, store, vocabulary, scale)


def _measured(store: Path, vocabulary: Vocabulary, scale: Scale) -> list[Row]:
    with Service(store.with_name("empty.db")) as service:
        empty = service.resident_mb()
    began = time.monotonic()
    with Service(store) as service:
        built = time.monotonic() - began
        memory = (service.resident_mb() - empty) * 10_000 / scale.cards
        mixes = list(searches(service, vocabulary, scale.searches))
        seen = asyncio.run(visible(service, scale.changing))
    worst = max(mixes, key=lambda mix: mix.p99)
    busiest = max(mixes, key=lambda mix: mix.cpu_p99)
    middle = sorted(mix.p50 for mix in mixes)[len(mixes) // 2]
    found = seen[len(seen) * 99 // 100]
    return [
        Row(
            f"registry search at {scale.cards:,} cards, p99 of the slowest of {len(mixes)} mixes",
            f"≤ {GOAL_MS:g} ms",
            f"{worst.p99:.1f} ms ({worst.mix})",
            met=worst.p99 <= GOAL_MS,
        ),
        Row(
            "· of it the service's processor time, of the busiest",
            "",
            f"{busiest.cpu_p99:.1f} ms ({busiest.mix})",
        ),
        Row("· p50 of the middle one", "", f"{middle:.1f} ms"),
        Row(
            "memory of search, 10,000 cards",
            f"≤ {GOAL_MB:g} MB",
            f"{memory:.0f} MB",
            met=memory <= GOAL_MB,
        ),
        Row(f"· index of {scale.cards:,} cards built at the start in", "", f"{built:.0f} s"),
        Row(
            f"{CHANGES} changes a second: p99 until a search finds one",
            f"≤ {GOAL_VISIBLE:g} s",
            f"{found:.2f} s",
            met=found <= GOAL_VISIBLE,
        ),
    ]
