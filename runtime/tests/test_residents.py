"""One agent keeps its tasks in a store; who comes with another name, or another executor, is told."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb
from stores import Database

from parley_core.errors import ConfigurationError
from parley_runtime.host import AgentHost
from parley_runtime.residents import judge
from parley_runtime.settings import HostSettings
from parley_runtime.store import Resident, Store

OURS = Resident("coder", "1.0.0", "ours:Coder")


def other(version: str = "1.0.0", *, live: bool, agent: str = "coder") -> Resident:
    return Resident(agent, version, "theirs:Coder", live)


@pytest.mark.parametrize(
    ("there", "warned"),
    [
        ([], 0),
        ([OURS], 0),
        ([Resident("coder", "0.9.0", "ours:Coder", live=True)], 0),
        ([other(live=False)], 1),
        ([other("0.9.0", live=True)], 1),
        ([other("0.9.0", live=False)], 0),
    ],
)
def test_who_comes_home_is_told_what_changed(there: Sequence[Resident], warned: int) -> None:
    assert len(judge(OURS, there)) == warned


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (other(live=True), "--agent-id"),
        (other(live=False, agent="poet"), "keeps the tasks of the agent 'poet'"),
    ],
)
def test_who_would_get_work_of_others_is_refused(there: Resident, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        judge(OURS, [there])


async def test_the_first_to_come_is_found_there_by_the_next(stores: tuple[Store, Store]) -> None:
    assert list(await stores[0].move_in(OURS)) == []
    assert list(await stores[1].move_in(OURS)) == [OURS]


async def test_a_version_whose_workers_live_keeps_its_executor(stores: tuple[Store, Store]) -> None:
    await stores[0].move_in(OURS)
    await stores[0].register_worker("w", "1.0.0", 30)
    await stores[1].move_in(other(live=False))
    [known] = await stores[1].move_in(other(live=False))
    assert (known.executor, known.live) == (OURS.executor, True)


async def test_a_version_whose_workers_are_gone_has_the_executor_of_who_came_last(
    stores: tuple[Store, Store],
) -> None:
    await stores[0].move_in(OURS)
    await stores[0].register_worker("w", "1.0.0", 30)
    await stores[0].retire_worker("w")
    await stores[1].move_in(other(live=False))
    [known] = await stores[1].move_in(OURS)
    assert known.executor == "theirs:Coder"


async def test_another_agent_does_not_get_in(stores: tuple[Store, Store]) -> None:
    await stores[0].move_in(OURS)
    await stores[1].move_in(Resident("poet", "2.0.0", "poems:Poet"))
    assert list(await stores[0].move_in(OURS)) == [OURS]


class Ours(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None: ...

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None: ...


class Theirs(Ours): ...


def host(url: str, executor: AgentExecutor, name: str = "agent", **more: object) -> AgentHost:
    card = pb.AgentCard(name=name, version="1.0.0")
    return AgentHost(card, executor, HostSettings(store=url, drain=0.1, **more))  # type: ignore[arg-type]


async def test_a_second_agent_of_one_name_does_not_start_beside_the_first(database: Database) -> None:
    first = host(database.url, Ours())
    await first.start()
    try:
        with pytest.raises(ConfigurationError, match="either would get the other's work"):
            await host(database.url, Theirs()).start()
        replica = host(database.url, Ours())
        await replica.start()
        await replica.drain()
        await replica.close()
    finally:
        await first.drain()
        await first.close()


async def test_what_is_one_agent_whatever_its_classes_says_so(database: Database) -> None:
    hosts = [host(database.url, executor, agent_id="team-a") for executor in (Ours(), Theirs())]
    for one in hosts:
        await one.start()
    for one in hosts:
        await one.drain()
        await one.close()


async def test_two_agents_in_one_folder_do_not_share_a_file_unseen(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/parley.db"
    first = host(url, Ours())
    await first.start()
    await first.drain()
    await first.close()
    with pytest.raises(ConfigurationError, match="needs one of its own"):
        await host(url, Ours(), name="another").start()
