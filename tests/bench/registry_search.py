"""How long a search of the registry takes at 100,000 cards, over HTTP, facets and cards of the page included.

    python tests/bench/registry_search.py [--cards 100000] [--requests 300]

Each request asks something new, so nothing comes from the cache of answered queries. One client, one after the other.
Besides the time on the clock it shows the processor time that the service spent on a request, which does not depend
on what else the machine does; with a processor to itself the clock shows little more than that.
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

import orjson
from a2a.types import AgentCard
from registry_corpus import BINDINGS, MODES, Vocabulary, cards

from parley_registry.backends.sql import SqlRecord
from parley_registry.card import CheckedCard, check_card

GOAL_MS = 10.0
Asked = Callable[[], dict[str, str]]


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
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "registry.db"
        vocabulary = Vocabulary()
        began = time.monotonic()
        asyncio.run(fill(store, given.cards, vocabulary))
        print(
            f"{given.cards} cards published in {time.monotonic() - began:.0f} s, {store.stat().st_size >> 20} MB"
        )
        began = time.monotonic()
        with Service(store) as service:
            print(
                f"index built in {time.monotonic() - began:.0f} s, {service.resident_mb()} MB resident, "
                f"load average {os.getloadavg()[0]:.1f}"
            )
            print(f"{'mix':<32}{'p50 ms':>8}{'p99 ms':>8}{'cpu p50':>9}{'cpu p99':>9}{'matches':>9}")
            worst = worst_cpu = 0.0
            for timed in measure(service, vocabulary, given.requests):
                worst, worst_cpu = max(worst, timed.p99), max(worst_cpu, timed.cpu_p99)
                print(
                    f"{timed.mix:<32}{timed.p50:>8.1f}{timed.p99:>8.1f}"
                    f"{timed.cpu_p50:>9.1f}{timed.cpu_p99:>9.1f}{timed.matches:>9}"
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
            await asyncio.gather(*(record.publish(one, instance=None, source="") for one in pending))
            pending.clear()
    await asyncio.gather(*(record.publish(one, instance=None, source="") for one in pending))
    await record.close()


def measure(service: "Service", vocabulary: Vocabulary, requests: int) -> Iterable[Timed]:
    """The times of each mix, against the service."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for mix, ask in _mixes(vocabulary).items():
        times, worked, totals = [], [], []
        for _ in range(requests):
            path = "/v1/agents?" + urlencode(ask())
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


def _mixes(vocabulary: Vocabulary) -> dict[str, Asked]:
    pick = random.Random(11)

    def word(low: int, high: int) -> str:
        return vocabulary.word(pick.randrange(low, high))

    def tag() -> str:
        return f"tag-{min(int(pick.paretovariate(0.7)), 3000)}"

    def skill() -> str:
        return f"skill-{min(int(pick.paretovariate(0.6)), 5000)}a"

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
        "word + provider": lambda: {"text": word(0, 40), "provider": f"Provider {pick.randrange(2000)}"},
    }


class Service:
    """A real `python -m parley_registry` on the filled file."""

    def __init__(self, store: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        command = [sys.executable, "-m", "parley_registry", "--listen", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [*command, "--store", f"sqlite:///{store}", "--log-level", "warning"]
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
