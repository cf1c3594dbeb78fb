"""Whatever happens in whatever order (changes of the spec, dying pods, tasks, somebody's own commands, an operator that ends
between any two writes or sees an old world): shares add up, nobody's conversation is cut off, and it all converges."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from simulated import World, aborted, promoted, spec

from parley_operator.observed import Observed, Ref
from parley_operator.plan import plan
from parley_registry.client import Rollout, shifting

DEADLINE = 40.0
IMAGES = ("one", "two", "three", "bad", "dead")
STEPS: tuple[list[dict[str, Any]], ...] = (
    [{"weight": 100}],
    [{"weight": 5, "pause": {"duration": "5s"}}, {"weight": 50}, {"weight": 100}],
    [{"weight": 10, "pause": {}}, {"weight": 100}],
)
ANALYSIS: tuple[dict[str, Any] | None, ...] = (None, {"minimumSample": 5, "rules": ["failure-rate"]})


class Watched(World):
    """A world in which every write is looked at."""

    draining: dict[str, float]

    def _set_table(self, table: Rollout) -> None:
        before = {one.version: one.state for one in self.table.versions}
        super()._set_table(table)
        if table.versions:
            assert sum(one.weight for one in self.table.versions) == 100
            assert sum(one.state == "Current" for one in self.table.versions) == 1
        after = {one.version: one.state for one in self.table.versions}
        for version in before:
            if after.get(version, "Inactive") == "Inactive" and version in self.work:
                # Whatever waits there is the current version's now.
                self.work[self.table.current].open += self.work[version].open
                self.work[version].open = 0
        for version, state in after.items():
            if state == "Draining" and before.get(version) != "Draining":
                self.draining[version] = self.now
            elif state != "Draining":
                self.draining.pop(version, None)

    def _scale(self, ref: Ref, count: int) -> None:
        if count == 0 and ref in self.children and ref.name in self.versions:
            self.may_stop(self.versions[ref.name]["spec"]["version"])
        super()._scale(ref, count)

    def _delete(self, ref: Ref) -> None:
        if ref.kind == "AgentVersion" and ref.name in self.versions:
            version = self.versions[ref.name]["spec"]["version"]
            self.may_stop(version)
            assert version not in {one.version for one in self.table.versions}
        super()._delete(ref)

    def may_stop(self, version: str) -> None:
        """Nobody needs this version's pods any more."""
        state = next((one.state for one in self.table.versions if one.version == version), "")
        assert state not in ("Current", "Ramping"), f"{version} is {state}"
        tasks = self.work[version].open if version in self.work else 0
        since = self.draining.get(version)
        if state == "Draining" and tasks:
            assert since is not None
            assert self.now - since >= DEADLINE - 1, f"{version} has {tasks} tasks, drains since {since}"
        if state == "Draining" and not tasks:
            raise AssertionError(f"{version} was stopped before it had drained")


class Operated(RuleBasedStateMachine):
    """One Agent, its cluster and its operators."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Watched.of(spec())
        self.world.draining = {}
        self.seen: list[Observed] = []
        self.policy: dict[str, Any] = {}

    @initialize(image=st.sampled_from(IMAGES[:4]), replicas=st.sampled_from([None, 1, 3]))
    def begin(self, image: str, replicas: int | None) -> None:
        self.apply(image, replicas, STEPS[0], None, "drain")

    # -- people

    @rule(
        image=st.sampled_from(IMAGES),
        replicas=st.sampled_from([None, 1, 3]),
        steps=st.sampled_from(STEPS),
        analysis=st.sampled_from(ANALYSIS),
        on_failure=st.sampled_from(["drain", "move"]),
    )
    def apply(
        self,
        image: str,
        replicas: int | None,
        steps: list[dict[str, Any]],
        analysis: dict[str, Any] | None,
        on_failure: str,
    ) -> None:
        rollout: dict[str, Any] = {
            "steps": steps,
            "drain": {"deadline": f"{DEADLINE:.0f}s", "onFailure": on_failure},
            "historyLimit": 1,
        }
        if analysis:
            rollout["analysis"] = analysis
        more = {"replicas": replicas} if replicas else {}
        self.world.change(spec(image, rollout=rollout, **more))

    @rule(command=st.sampled_from([promoted, aborted, shifting.resume, "pause", "undo"]))
    def by_hand(self, command: Callable[[Rollout], Rollout] | str) -> None:
        if not self.world.registry_up or not self.world.table.versions:
            return
        # What happens within a second is nobody's to tell apart: the operator looks before and after.
        self.world.reconcile()
        table = self.world.table
        if command == "pause":
            self.world.by_hand(shifting.pause)
        elif command == "undo":
            before = any(one.state in ("Draining", "Drained") for one in table.versions)
            if before or shifting.canary(table):
                self.world.by_hand(shifting.undo)
        elif callable(command):
            self.world.by_hand(command)
        self.world.reconcile()

    # -- the cluster

    @rule(seconds=st.sampled_from([1.0, 3.0, 10.0, 45.0]))
    def time(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule(tasks=st.sampled_from([10, 100]))
    def serve(self, tasks: int) -> None:
        self.world.serve(tasks)

    @precondition(lambda self: self.world.work)
    @rule(which=st.integers(0, 4), count=st.sampled_from([0, 1, 5]))
    def tasks(self, which: int, count: int) -> None:
        """A conversation goes on, or all of a version's end."""
        versions = sorted(self.world.work)
        self.world.work[versions[which % len(versions)]].open = count

    @rule(image=st.sampled_from(IMAGES))
    def pods(self, image: str) -> None:
        """The pods of a version die, or are well again."""
        self.world.dead ^= {image}

    @rule()
    def registry(self) -> None:
        self.world.registry_up = not self.world.registry_up

    @rule()
    def secret(self) -> None:
        if self.world.secrets:
            self.world.secrets.clear()
        else:
            self.world.secrets["parley-platform"] = "h1"

    # -- operators

    @rule()
    def reconcile(self) -> None:
        self.look()
        self.world.reconcile()

    @rule(writes=st.integers(0, 14))
    def end_in_the_middle(self, writes: int) -> None:
        self.look()
        self.world.carry_out(plan(self.world.observe()), most=writes)

    @precondition(lambda self: self.seen)
    @rule(ago=st.integers(0, 2), writes=st.none() | st.integers(0, 14))
    def see_an_old_world(self, ago: int, writes: int | None) -> None:
        """What the API server said is old; the registry and the pods are asked anew."""
        old = self.seen[-1 - ago % len(self.seen)]
        fresh = self.world.observe()
        mixed = replace(
            old,
            now=fresh.now,
            table=fresh.table,
            published=fresh.published,
            latest=fresh.latest,
            figures=fresh.figures,
        )
        self.world.carry_out(plan(mixed), by=mixed, most=writes)

    def look(self) -> None:
        self.seen = [*self.seen[-3:], self.world.observe()]

    # -- what holds

    @invariant()
    def the_last_good_version_has_pods(self) -> None:
        world = self.world
        if shifting.canary(world.table):
            name = world._name(world.table.current)
            deployment = world.children.get(Ref("Deployment", name))
            assert deployment is None or deployment["spec"].get("replicas", 1) > 0

    def teardown(self) -> None:
        """When nothing happens any more, it converges."""
        world = self.world
        world.registry_up, world.dead = True, set()
        world.secrets["parley-platform"] = "h1"
        for work in world.work.values():
            work.open = 0
        if world.table.paused:
            world.by_hand(shifting.resume)
        for _ in range(80):
            world.reconcile()
            world.serve(100)
            world.tick(3.0)
            if world.table.paused:
                world.by_hand(shifting.resume)
        image = world.agent["spec"]["image"]
        status = world.status
        assert status.observed_generation == world.agent["metadata"]["generation"]
        assert len(world.versions) <= 3
        if image == "dead" and not world.table.versions:
            return
        assert not shifting.canary(world.table) or image == "dead", world.status.rollout
        current = world._image(world._name(world.table.current))
        phase = status.rollout.phase if status.rollout else ""
        if phase == "Done":
            assert current == image
        elif image != "dead":
            assert phase in ("Failed", "Aborted"), status.rollout
            assert current != image
        assert world.replicas(current) >= 1
        wanted = world.version(image)
        for name, one in world.versions.items():
            if one["spec"]["version"] not in (world.table.current, wanted):
                assert world.children[Ref("Deployment", name)]["spec"]["replicas"] == 0
        writes = [what for what, _ in world.operations(plan(world.observe())) if "apply" not in what]
        assert not [what for what in writes if what == "table" or what.startswith(("scale", "delete"))]


SETTINGS = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.timeout(280)
def test_any_order_of_events_and_crashes_converges() -> None:
    run_state_machine_as_test(Operated, settings=SETTINGS)  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_any_order_of_events_and_crashes_converges_many_times() -> None:
    run_state_machine_as_test(Operated, settings=settings(SETTINGS, max_examples=400))  # type: ignore[no-untyped-call]
