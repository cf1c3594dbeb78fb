"""Canaries of real pods among all the engines, under whatever goes wrong: no context changes its version, nothing accepted is lost."""

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from charted import PROJECT
from conversing import COMPLETED, Conversations, Part, contexts, errand, text
from installed import CODE, PATIENCE, Installed, installed, within
from jobs import Gate, give
from sharing import canary, heard, resting, shared, table

from engines.kubernetes.real import IMAGES, RealCluster
from engines.nacos import Nacos

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]

Found = TypeVar("Found")
CODER = "coding-coder"
SAMPLE = 8
FAILURES = {"rules": ["failure-rate"], "minimumSample": SAMPLE}
SHARE = 20
"""The canary's share, in per cent, at which the 10,000 contexts begin."""


@pytest.fixture(scope="module")
def release(
    module_real_cluster: RealCluster, nacos: Nacos, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    with installed(module_real_cluster, nacos, tmp_path_factory.mktemp("release")) as made:
        yield made


@pytest.fixture(autouse=True)
def story(release: Installed, request: pytest.FixtureRequest) -> Iterator[None]:
    before = request.session.testsfailed
    yield
    if request.session.testsfailed > before:
        release.tell()


@asynccontextmanager
async def talking(release: Installed, parts: list[Part], seed: int) -> AsyncIterator[Conversations]:
    """Two clients talk to the coder for as long as this lasts, and then wait for their answers."""
    stop = asyncio.Event()
    async with Conversations(release.url(CODER), release.token) as talk, asyncio.TaskGroup() as clients:
        for number in range(2):
            clients.create_task(talk.go_on(parts, stop, seed + number))
        try:
            yield talk
        finally:
            stop.set()


async def until(what: str, holds: Callable[[], Found | None]) -> Found:
    """See `within`; those who talk meanwhile go on."""
    return await asyncio.to_thread(within, what, holds)


def greeter(executor: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """An agent that costs next to nothing, on PostgreSQL alone."""
    card = {
        "description": "Greets.",
        "capabilities": {"streaming": True},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "greet", "name": "Greet", "description": "Says hello.", "tags": ["test"]}],
    }
    return {
        "apiVersion": "parley.dev/v1alpha1",
        "kind": "Agent",
        "metadata": {"name": "greeter"},
        "spec": {
            "executor": f"canary:{executor}",
            "files": [{"configMap": "greeter", "path": "/code"}],
            "env": [{"name": "PYTHONPATH", "value": "/code"}],
            "card": {"inline": card},
            "platform": {"secret": "greeter"},
            "replicas": 1,
            "rollout": {"steps": steps},
        },
    }


def steps(held: int) -> list[dict[str, Any]]:
    """Those of a rollout that stays at that share."""
    return [
        {"weight": weight, **({"pause": {"duration": "10h"}} if weight == held else {})}
        for weight in (SHARE, 60, 100)
    ]


async def test_ten_thousand_contexts_are_split_by_the_weight_and_none_ever_changes_its_version(
    release: Installed,
) -> None:
    code = PROJECT / "examples" / "canary" / "canary.py"
    release.kubectl("create", "configmap", "greeter", f"--from-file={code}")
    store = release.cluster.reach(release.database)
    release.kubectl("create", "secret", "generic", "greeter", f"--from-literal=PARLEY_STORE={store}")

    def apply(executor: str, held: int) -> None:
        release.cluster.kubectl.apply(greeter(executor, steps(held)), "-n", release.namespace)

    apply("Greeter", SHARE)
    within("the greeter is Ready", lambda: release.holds("greeter", "Ready"))
    first = release.current("greeter")
    apply("Better", SHARE)
    early = within("its canary has a share", lambda: shared(release, "greeter", SHARE))
    second = canary(early)
    hi = text("Hi")
    await heard(release, "greeter", second, hi, early)

    # A version's name has a hash in it of what is new in each run, so which contexts fall to which is too: of five lists of ids the first
    # is taken that the table divides within two sigma (that none is: once in five million runs). Nothing else is left to chance.
    most = 2 * math.sqrt(10_000 * SHARE / 100 * (1 - SHARE / 100))
    lists = (contexts(10_000, seed) for seed in range(5))
    ids = next(
        one for one in lists if abs(sum(early.choose(id_) == second for id_ in one) - 100 * SHARE) <= most
    )
    async with Conversations(release.url("greeter"), release.token) as talk:
        began = time.monotonic()
        await talk.say_to_all(ids, hi)
        print(f"10,000 contexts in {time.monotonic() - began:.0f} s, {talk.repeated} calls made again")
        born = {context: next(iter(found)) for context, found in talk.versions.items()}
        assert born == {context: early.choose(context) for context in ids}
        assert abs(Counter(born.values())[second] - 100 * SHARE) <= most

        apply("Better", 60)
        later = within("it has more", lambda: shared(release, "greeter", 60))
        moved = [id_ for id_ in contexts(1000, seed=10) if early.choose(id_) != later.choose(id_)]
        await heard(release, "greeter", second, hi, later)
        await talk.say_to_all([*ids[::10], *moved], hi)
        assert {version for id_ in moved for version in talk.versions[id_]} == {second}

        apply("Better", 100)
        within("it is current", lambda: release.holds("greeter", "RolledOut"))
        await talk.say_to_all(ids[1::10], hi)
        within("the first version has drained and has no pods", lambda: resting(release, "greeter", first))
        await talk.say_to_all(ids[2::500], hi)  # which has some pods come back
        assert talk.changed() == {}
        assert {state for _, state in talk.ends} == {COMPLETED}

    [schema] = [one for one in release.schemas() if "greeter" in one]
    asked = f'SELECT count(*), count(DISTINCT context_id) FROM "{schema}".task'
    [[tasks, distinct]] = release.rows(asked)
    assert int(distinct) >= 10_000 + len(moved)
    assert int(tasks) >= int(distinct) + 2000
    changed = f'SELECT context_id FROM "{schema}".task GROUP BY 1 HAVING count(DISTINCT version) > 1'
    assert release.rows(changed) == []
    assert release.unended() == []
    release.kubectl("delete", "agent", "greeter", "--wait=false")


async def test_a_job_ends_verified_while_a_canary_of_the_coder_advances_and_everything_is_killed(
    release: Installed, tmp_path: Path
) -> None:
    first, parts = release.current(CODER), errand(tmp_path / "repo")
    rollout = {
        "steps": [
            {"weight": 40, "pause": {"duration": "15s"}},
            {"weight": 70, "pause": {"duration": "15s"}},
            {"weight": 100},
        ],
        "analysis": FAILURES,
    }
    release.change("coder", rollout, env=[{"name": "VARIANT", "value": "2"}])
    async with talking(release, parts, seed=100) as talk:
        with Gate(release) as gate:
            second = canary(await until("the coder's canary has a share", lambda: shared(release, CODER, 40)))
            job = await asyncio.to_thread(give, release, "killed", gate)
            await until("the job is at its tests", gate.reached.is_set)
            await asyncio.to_thread(kill_everything, release)
            assert not job.over
            gate.open()
            await until("the job has ended", lambda: job.over)
            said = job.events[-1]
            assert (said["event"], said["verified"], said["changed"]) == ("job-ended", True, True), job.events
        await until("the canary is current", lambda: release.holds(CODER, "RolledOut"))
    assert release.current(CODER) == second
    print(f"{dict(talk.ends)}, {talk.repeated} calls made again")
    assert set(talk.ends) == {(first, COMPLETED), (second, COMPLETED)}
    assert talk.changed() == {}
    # Each message is one task, and each task of each agent has one end.
    [schema] = [one for one in release.schemas() if "coder" in one]
    kept = Counter(context for [context] in release.rows(f'SELECT context_id FROM "{schema}".task'))
    assert {one: kept[one] for one in talk.tasks} == {one: len(tasks) for one, tasks in talk.tasks.items()}
    within("every task has its end", lambda: not release.unended())


def kill_everything(release: Installed) -> None:
    """kill -9 of the operator that leads, of pods of the agents that work, and of the API server, with more while that is away."""
    leader = led_by(release)
    release.kill(release.pods("parley-operator")[leader.rpartition("-")[0]])
    for name in ("coding-tester", "coding-coder"):
        killed(release, list(release.pods(name).values()))
    # Of two the other answers meanwhile; and then the other way round.
    for pod in release.pods("coding-orchestrator").values():
        killed(release, [pod])
    coders = list(release.pods("coding-coder").values())
    release.cluster.kill("api")
    for pod in coders:
        release.kill(pod)
    time.sleep(3)
    release.cluster.start("api")
    within("the coders are back", lambda: all(map(release.back, coders)))
    within("another operator leads", lambda: led_by(release) not in ("", leader))


def killed(release: Installed, pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        release.kill(pod)
    names = ", ".join(pod["metadata"]["name"] for pod in pods)
    within(f"{names} are back", lambda: all(map(release.back, pods)))


def led_by(release: Installed) -> str:
    return str(release.get("lease", "parley-operator")["spec"].get("holderIdentity") or "")


async def test_a_bad_version_is_taken_back_and_one_that_cannot_start_takes_nothing(
    release: Installed, tmp_path: Path
) -> None:
    good, parts = release.current(CODER), errand(tmp_path / "repo")
    as_it_was = release.told["team"]["spec"]["members"]["coder"]
    held = {
        "steps": [{"weight": 50, "pause": {"duration": "10h"}}, {"weight": 100}],
        "analysis": FAILURES,
    }
    release.change("coder", held, executor=f"{CODE}:Careless")
    async with talking(release, parts, seed=200) as talk:
        degraded = await until("the bad version is taken back", lambda: failed(release, CODER))
    figures = re.search(r"failed (\d+) of (\d+).*, (\S+) 0 of (\d+)", degraded["message"])
    assert figures, degraded
    assert figures[1] == figures[2]
    assert figures[3] == good
    assert min(int(figures[2]), int(figures[4])) >= SAMPLE
    told = within("an event says so", lambda: events(release, CODER, "AnalysisFailed"))
    assert any(figures[0] in one for one in told)
    status = release.agent(CODER)["status"]
    assert (status["currentVersion"], status.get("canaryWeight", 0)) == (good, 0)
    assert {state for version, state in talk.ends if version == good} == {COMPLETED}
    assert {state for version, state in talk.ends if version != good} == {"TASK_STATE_FAILED"}
    assert talk.changed() == {}
    await heard(release, CODER, good, parts, table(release, CODER), times=8)

    release.change("coder", held, image="parley.test/host:missing")
    within("it is said why it does not start", lambda: "ImagePull" in worry(release, CODER))
    async with talking(release, parts, seed=300) as talk:
        await until("calls are answered", lambda: talk.ends.total() >= 5)
    assert set(talk.ends) == {(good, COMPLETED)}
    within("it is Ready all the same", lambda: release.holds(CODER, "Ready"))
    assert release.current(CODER) == good

    release.change("coder", held, **as_it_was)
    within("what was good is what is wanted", lambda: release.holds(CODER, "RolledOut"))
    assert release.current(CODER) == good
    within("nothing is wrong any more", lambda: release.condition(CODER, "Degraded").get("status") == "False")


def failed(release: Installed, name: str) -> dict[str, Any]:
    """What is said of a canary that did worse; {} before that."""
    found = release.holds(name, "Degraded")
    return found if found.get("reason") == "AnalysisFailed" else {}


def events(release: Installed, name: str, reason: str) -> list[str]:
    return [
        one["message"]
        for one in release.get("events")["items"]
        if (one["involvedObject"]["name"], one["reason"]) == (name, reason)
    ]


def worry(release: Installed, name: str) -> str:
    """What the Agent says of a version that does not come up."""
    return " ".join(release.condition(name, kind).get("message", "") for kind in ("Degraded", "Progressing"))


async def test_a_job_and_its_stream_go_on_through_an_upgrade_of_the_whole_chart(release: Installed) -> None:
    names = [f"coding-{role}" for role in ("orchestrator", "planner", "coder", "reviewer", "tester")]
    before = {name: release.current(name) for name in names}
    boss = names[0]
    with Gate(release) as gate:
        job = give(release, "upgraded", gate)
        within("the job is at its tests", gate.reached.is_set)
        async with Conversations(release.url(boss), release.token) as talk:
            stream = asyncio.create_task(whole(talk, job.task))
            image = IMAGES[1]
            for part in ("operator", "registry", "agents"):
                release.told[part]["image"] = image
            release.told["operator"]["logLevel"] = "debug"
            await asyncio.to_thread(release.change, "", {"steps": [{"weight": 100}]})
            await until(
                "all five are rolled out", lambda: all(changed(release, *one) for one in before.items())
            )
            for part in ("parley-operator", "parley-registry"):
                assert {
                    one["image"] for pod in release.pods(part).values() for one in pod["spec"]["containers"]
                } == {image}
            assert not job.over
            assert not stream.done()
            gate.open()
            await until("the job has ended", lambda: job.over)
            said = job.events[-1]
            assert (said["event"], said["verified"], said["changed"]) == ("job-ended", True, True), job.events
            numbers, last = await asyncio.wait_for(stream, PATIENCE)
    # One connection, from before the upgrade to the end: no event twice, none missing.
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert last["statusUpdate"]["status"]["state"] == COMPLETED
    within("what the old pods had to do is done", lambda: resting(release, boss, before[boss]))
    within("every task has its end", lambda: not release.unended())


async def whole(talk: Conversations, task: str) -> tuple[list[int], dict[str, Any]]:
    """Numbers of the events that one connection brings, and the last event."""
    heard = [one async for one in talk.events(task)]
    return [number for number, _ in heard], heard[-1][1]


def changed(release: Installed, name: str, before: str) -> bool:
    return bool(release.holds(name, "RolledOut") and release.current(name) != before)
