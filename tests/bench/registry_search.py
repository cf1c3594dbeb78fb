"""How long a search of the registry takes at 100,000 cards, over HTTP, facets and cards of the page included.

    python tests/bench/registry_search.py [--cards 100000] [--requests 300]

Each request asks something new, so nothing comes from the cache of answered queries. One client, one after the other.
Besides the time on the clock, seen by the client through HTTP, it shows the processor time that the service spent on a
request, which depends less on what else the machine does; with a processor to itself the clock shows little more.
Last, a hundred changes a second are published, and each is looked for until a search finds it.
"""

import argparse
import asyncio
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import orjson
from a2a.types import AgentCard
from registry_corpus import BINDINGS, MODES, Vocabulary, cards

from engines.ports import free_port
from parley_registry.backends.sql import SqlRecord
from parley_registry.card import CheckedCard, check_card
from parley_registry.entry import PUBLIC

GOAL_MS = 10.0
Asked = Callable[[], dict[str, str | list[str]]]
GOAL_MB = 50.0
GOAL_VISIBLE = 1.0
CHANGES = 100
"""A second."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One mix of queries: milliseconds on the clock and of processor time, at the median and at the 99th of 100;
    matches at the median."""

    mix: str
    p50: float
    p99: float
    cpu_p50: float
    cpu_p99: float
    matches: int


def main() -> int:
    """Exit status 0 when every mix keeps the goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cards", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "registry.db"
        vocabulary = Vocabulary()
        began = time.monotonic()
        asyncio.run(fill(store, given.cards, vocabulary))
        print(
            f"{given.cards} cards published in {time.monotonic() - began:.0f} s, {store.stat().st_size >> 20} MB"
        )
        with Service(Path(folder) / "empty.db") as service:
            empty = service.resident_mb()
        began = time.monotonic()
        with Service(store) as service:
            print(
                f"index built in {time.monotonic() - began:.0f} s ({service.worked_ms() / 1000:.0f} s of processor time), "
                f"{service.resident_mb()} MB resident, {(service.resident_mb() - empty) * 10_000 / given.cards:.0f} MB per "
                f"10,000 cards, load average {os.getloadavg()[0]:.1f}"
            )
            print(f"{'mix':<32}{'p50 ms':>8}{'p99 ms':>8}{'cpu p50':>9}{'cpu p99':>9}{'matches':>9}")
            worst = worst_cpu = 0.0
            for timed in measure(service, vocabulary, given.requests):
                worst, worst_cpu = max(worst, timed.p99), max(worst_cpu, timed.cpu_p99)
                print(
                    f"{timed.mix:<32}{timed.p50:>8.1f}{timed.p99:>8.1f}"
                    f"{timed.cpu_p50:>9.1f}{timed.cpu_p99:>9.1f}{timed.matches:>9}"
                )
            seen = asyncio.run(visible(service, given.seconds))
            print(
                f"{len(seen) / given.seconds:.0f} changes a second: found after {seen[len(seen) // 2]:.2f} s at the median, "
                f"{seen[len(seen) * 99 // 100]:.2f} s at p99, {seen[-1]:.2f} s at most"
            )
    print(
        f"worst p99 {worst:.1f} ms ({worst_cpu:.1f} ms of processor time), goal {GOAL_MS:g} ms; "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    return 0 if worst <= GOAL_MS else 1


async def fill(store: Path, count: int, vocabulary: Vocabulary) -> None:
    """Publish `count` cards into a new record; the first hundred are checked by the registry's rules, to see that they keep them."""
    record = SqlRecord(f"sqlite:///{store}")
    await record.open()
    pending: list[CheckedCard] = []
    for number, card in enumerate(cards(count, vocabulary)):
        pending.append(check_card(card) if number < 100 else _unchecked(card))
        if len(pending) == 64:
            await asyncio.gather(
                *(record.publish(one, namespace=PUBLIC, instance=None, source="") for one in pending)
            )
            pending.clear()
    await asyncio.gather(
        *(record.publish(one, namespace=PUBLIC, instance=None, source="") for one in pending)
    )
    await record.close()


def measure(service: "Service", vocabulary: Vocabulary, requests: int) -> Iterable[Timed]:
    """The times of each mix, against the service."""
    pages = Pages(service.port)
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for mix, ask in _mixes(vocabulary, pages.cursor).items():
        times, worked, totals = [], [], []
        for _ in range(requests):
            path = "/v1/agents?" + urlencode(ask(), doseq=True)
            before, began = service.worked_ms(), time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            times.append((time.perf_counter() - began) * 1000)
            worked.append(service.worked_ms() - before)
            if answer.status != 200:
                raise RuntimeError(f"{path} answered {answer.status}: {body[:300]!r}")
            totals.append(orjson.loads(body)["total"])
        for figures in (times, worked, totals):
            figures.sort()
        middle, high = requests // 2, requests * 99 // 100
        yield Timed(mix, times[middle], times[high], worked[middle], worked[high], totals[middle])
    connection.close()


def _mixes(vocabulary: Vocabulary, after: Callable[[str], str]) -> dict[str, Asked]:
    pick = random.Random(11)

    def word(low: int, high: int) -> str:
        return vocabulary.word(pick.randrange(low, high))

    def tag() -> str:
        return f"tag-{min(int(pick.paretovariate(0.7)), 3000)}"

    def skill() -> str:
        return f"skill-{min(int(pick.paretovariate(0.6)), 5000)}a"

    def slip(word: str) -> str:
        at = pick.randrange(1, len(word))
        return (
            word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
            if pick.random() < 0.5
            else word[:at] + word[at + 1 :]
        )

    def limit() -> str:
        return str(pick.randint(19, 20))

    return {
        "everything": lambda: {"limit": limit()},
        "skill + up (an orchestrator's)": lambda: {"skill": skill(), "health": "unknown", "limit": limit()},
        "tag + capability": lambda: {"tag": tag(), "capability": "streaming"},
        "modes + binding + version": lambda: {
            "inputMode": pick.choice(MODES),
            "outputMode": pick.choice(MODES),
            "binding": pick.choice(BINDINGS),
            "protocolVersion": pick.choice(("1.0", "0.3")),
        },
        "provider": lambda: {"provider": f"Provider {pick.randrange(2000)}"},
        "a common word": lambda: {"text": word(0, 40)},
        "a word of middling use": lambda: {"text": word(40, 800)},
        "a rare word": lambda: {"text": word(2000, 8000)},
        "two to four words": lambda: {"text": " ".join(word(0, 300) for _ in range(pick.randint(2, 4)))},
        "three of the commonest words": lambda: {"text": " ".join(word(0, 12) for _ in range(3))},
        "the beginning of a word": lambda: {"text": word(0, 2000)[: pick.randint(2, 4)]},
        "word + tag + up": lambda: {"text": word(0, 200), "tag": tag(), "health": "unknown"},
        "word + skill + mode + binding": lambda: {
            "text": word(0, 60),
            "skill": skill(),
            "inputMode": pick.choice(MODES),
            "binding": pick.choice(BINDINGS),
        },
        "a slip in a word": lambda: {"text": slip(word(40, 4000))},
        "slips in two words + tag": lambda: {
            "text": f"{slip(word(0, 400))} {slip(word(0, 400))}",
            "tag": tag(),
        },
        "Chinese": lambda: {"text": vocabulary.chinese(pick.randint(1, 3))},
        "Chinese + a word": lambda: {"text": f"{word(0, 40)}{vocabulary.chinese(1)}"},
        "a sentence": lambda: {"text": " ".join(word(0, 2000) for _ in range(8))},
        "several values + latest": lambda: {
            "tag": [tag(), tag(), tag()],
            "binding": ["GRPC", "JSONRPC"],
            "latest": "true",
            "limit": limit(),
        },
        "the 20th page of a common word": lambda: {"text": (common := word(0, 40)), "cursor": after(common)},
        "word + provider": lambda: {"text": word(0, 40), "provider": f"Provider {pick.randrange(2000)}"},
    }


class Pages:
    """Cursors far into a search, found by paging there once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: dict[str, str] = {}

    def cursor(self, text: str) -> str:
        """The cursor of the 20th page for a text, or of the last one."""
        if text not in self._known:
            connection = http.client.HTTPConnection("127.0.0.1", self._port)
            cursor = ""
            for _ in range(19):
                connection.request("GET", "/v1/agents?" + urlencode({"text": text, "cursor": cursor}))
                cursor = orjson.loads(connection.getresponse().read())["next"] or cursor
            self._known[text] = cursor
            connection.close()
        return self._known[text]


async def visible(service: "Service", seconds: int) -> list[float]:
    """Seconds from the begin of each publish until a search finds what was published, in order of length, while `CHANGES`
    cards a second are."""
    url = f"http://127.0.0.1:{service.port}"
    limits = httpx.Limits(max_connections=512)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, limits=limits) as client:

        async def change(number: int) -> float:
            await asyncio.sleep(number / CHANGES)
            began = time.perf_counter()
            name = f"fresh zq{number}x{time.time_ns()}"
            card = next(cards(1, Vocabulary(50))) | {"name": name}
            (await client.post("/v1/agents", json={"card": card})).raise_for_status()
            found = await client.get("/v1/agents", params={"text": name, "limit": 1})
            if not found.raise_for_status().json()["total"]:
                raise RuntimeError(f"{name} was published and is not found")
            return time.perf_counter() - began

        return sorted(await asyncio.gather(*(change(number) for number in range(seconds * CHANGES))))


class Service:
    """A real `python -m parley_registry` on a file, or on the store of that address."""

    def __init__(self, store: Path | str, *options: str) -> None:
        self.port: int = free_port()
        command = [sys.executable, "-m", "parley_registry", "--listen", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [
                *command,
                *("--store", store if isinstance(store, str) else f"sqlite:///{store}"),
                *("--log-level", "warning", *options),
            ]
        )

    def __enter__(self) -> "Service":
        deadline = time.monotonic() + 300
        while not self._ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self._process.kill()
                raise RuntimeError("the registry did not become ready")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def resident_mb(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    def worked_ms(self) -> float:
        """Processor time of all threads so far, by the scheduler's own account."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def _ready(self) -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False


def _unchecked(card: dict[str, object]) -> CheckedCard:
    """As `check_card` would give it, without the checking that would take most of the time of filling."""
    name, version = str(card["name"]), str(card["version"])
    return CheckedCard(
        AgentCard(name=name, version=version), orjson.dumps(card, option=orjson.OPT_SORT_KEYS), "-"
    )


if __name__ == "__main__":
    sys.exit(main())
