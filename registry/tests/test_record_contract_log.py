"""What every backend of the record promises of its change log, its atomicity, and of what survives a kill."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

from record_backend import AT_1, CODER, PUBLIC, Backend, coder, publish
from registry_service import card_json

from parley_registry.entry import Change
from parley_registry.record import Record

WRITING = """
import asyncio, json, sys
from parley_registry.card import check_card
from parley_registry.catalogue import open_record
from parley_registry.entry import Instance
from parley_registry.settings import RegistrySettings

async def main(store, nacos, namespace, card, mark):
    record = open_record(RegistrySettings(store=store, nacos=nacos))
    await record.open()
    async def one(number):
        told = check_card({**card, "name": f"{mark}-{number}"})
        done = await record.publish(
            told, namespace=namespace, instance=Instance("x", "http://127.0.0.1:1"), source="")
        print(done.entry.name, flush=True)
    for start in range(0, 100_000, 5):
        await asyncio.gather(*(one(number) for number in range(start, start + 5)))

store, nacos, namespace, card, mark = sys.argv[1:]
asyncio.run(main(store, nacos, namespace, json.loads(card), mark))
"""


async def test_the_log_can_be_read_on_from_anywhere(record: Record) -> None:
    for number in range(5):
        await publish(record, f"agent-{number}", instance=AT_1)
    everything = await record.changes(0, 100)
    assert [change.seq for change in everything.changes] == list(range(1, 11))
    assert everything.last == await record.last_change() == 10
    for after in range(11):
        piece = await record.changes(after, 3)
        assert piece.changes == everything.changes[after : after + 3]
        assert not piece.missed


async def test_an_empty_log_has_no_last_change(record: Record) -> None:
    assert await record.last_change() == 0
    empty = await record.changes(0, 10)
    assert (empty.changes, empty.last, empty.missed) == ((), 0, False)
    assert (await record.changes(7, 10)).missed, "whoever comes from another record is to read again"


async def test_who_asks_for_what_is_dropped_is_told(backend: Backend) -> None:
    record = await backend.open(keep=100)
    for number in range(300):
        await publish(record, f"agent-{number}")
    assert (await record.changes(10, 10)).missed
    late = await record.changes(290, 100)
    assert not late.missed
    assert [change.seq for change in late.changes] == list(range(291, 301))


async def test_a_refused_change_leaves_no_trace_beside_others(record: Record) -> None:
    await publish(record)
    results = await asyncio.gather(
        *(
            publish(record, f"agent-{number}") if number % 2 else publish(record, description=str(number))
            for number in range(20)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Exception) for result in results) == 10
    assert len((await record.changes(0, 100)).changes) == 11
    assert len(await record.page(None, 100)) == 11


async def test_a_reader_never_skips_a_change_that_is_committed_later(backend: Backend) -> None:
    """Many write at once, through several processes' worth of records; a reader that only moves forward sees all."""
    writers = [await backend.open() for _ in range(4)]
    reader = await backend.open()
    seen: list[Change] = []
    done = asyncio.Event()

    async def read() -> None:
        after = 0
        while True:
            ended = done.is_set()
            found = (await reader.changes(after, 50)).changes
            seen.extend(found)
            after = found[-1].seq if found else after
            if ended and not found:
                return
            await asyncio.sleep(0)

    reading = asyncio.create_task(read())
    await asyncio.gather(
        *(
            publish(writer, f"w{index}-{number}", instance=AT_1)
            for number in range(40)
            for index, writer in enumerate(writers)
        )
    )
    done.set()
    await reading
    assert [change.seq for change in seen] == list(range(1, 321)), "no gap, no repeat, in order"


async def test_a_call_that_returned_survives_a_kill_in_the_middle(backend: Backend) -> None:
    record = await backend.open()
    processes = [writing(backend, mark) for mark in ("a", "b")]
    acknowledged: list[str] = []
    try:
        for process in processes:
            assert process.stdout is not None
            acknowledged += [(await asyncio.to_thread(process.stdout.readline)).strip() for _ in range(15)]
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            acknowledged += (process.communicate(timeout=15)[0] or "").split()
    await until_still(record)
    entries = await record.page(None, 10_000)
    while backend.nacos and any(
        entry.health == "up" for entry in entries
    ):  # Nacos takes its time; the test has 2 minutes
        await until_still(record)
        entries = await record.page(None, 10_000)
    assert set(acknowledged) <= {entry.name for entry in entries}
    changes = (await record.changes(0, 10_000)).changes
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    kinds = Counter(change.kind for change in changes)
    if backend.nacos:  # a card and an instance are two calls there; the instances of a process go with it
        assert {entry.health for entry in entries if entry.name in acknowledged} == {"down"}
        assert kinds["published"] == len(entries) >= kinds["up"] == kinds["down"] >= len(acknowledged)
    else:
        assert all(entry.health == "up" and entry.latest for entry in entries), "all of a publish or nothing"
        assert kinds == {"published": len(entries), "up": len(entries)}
    assert (await publish(record, version="1.0.0")).created, "nobody holds a lock any more"


async def test_two_that_make_one_version_at_once_make_it_once(backend: Backend) -> None:
    records: Sequence[Record] = [await backend.open() for _ in range(3)]
    made = await asyncio.gather(*(publish(record) for record in records for _ in range(5)))
    assert sum(one.created for one in made) == 1
    assert [one.version for one in await records[0].versions(CODER)] == ["1.0.0"]
    assert await records[1].load([coder()]) == [made[0].entry]


def writing(backend: Backend, mark: str) -> "subprocess.Popen[str]":
    arguments = [
        sys.executable,
        "-c",
        WRITING,
        backend.store,
        backend.nacos,
        PUBLIC,
        json.dumps(card_json()),
        mark,
    ]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


async def until_still(record: Record) -> None:
    """What the killed had sent may still be committed by the server."""
    before = -1
    while (now := await record.last_change()) != before:
        before = now
        await asyncio.sleep(1.5)
