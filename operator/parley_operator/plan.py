"""From what is observed of an Agent to what is to be done: pure, without a clock, a network or a memory.

The order in which a Plan is carried out, and what each decision goes by, is such that an operator may end at any point: the
next one sees what was done and goes on. Where shares or scaling down are concerned, nothing is decided while the registry
cannot be reached.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from parley_operator import draining, making, remote, removal, restoring, scaling, telling
from parley_operator.decision import Event, Plan, Scale
from parley_operator.draining import wind_down
from parley_operator.identity import Unidentified, identify, version_name
from parley_operator.observed import Observed, Ref
from parley_operator.resources.agent import AgentSpec, AgentStatus, RolloutState, status_of
from parley_operator.resources.base import seconds
from parley_operator.resources.conditions import clock, unclock
from parley_operator.resources.version import AgentVersionStatus
from parley_operator.rollout import Course, Situation, advance
from parley_operator.troubles import in_words, news, troubles
from parley_operator.versions import Version, versions_of
from parley_registry.client import Rollout, shifting

__all__ = ["Event", "Plan", "Scale", "plan"]

_SOON = 5.0
"""Seconds between two looks while tasks are followed."""
_TAKEN = 30.0
"""Seconds between two looks whether a name has become free."""
_ADDRESS = 1.0
"""Seconds until the Service that has just been made is looked at for its address: what we write ourselves is no news."""
_WAKING = 15.0
"""Seconds between two looks for tasks of versions that have drained."""


def plan(observed: Observed) -> Plan:
    """What is to be done now."""
    agent = observed.agent
    before = status_of(agent)
    if "deletionTimestamp" in agent["metadata"]:
        return removal.plan(observed, removal.spec_of(agent), before)
    try:
        spec = AgentSpec.read(agent["spec"])
    except ValidationError as error:
        faults = "; ".join(f"spec.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return _refused(observed, before, ("SpecInvalid", faults))
    if observed.elder:
        taken = (
            f"the Agent {observed.elder} has this name in the registry, where all namespaces publish in one"
        )
        fault = ("NameTaken", f"{taken}; make it anew under another name")
        return _refused(observed, before, fault, again=_TAKEN)
    if spec.runtime == "remote":
        if others := remote.taken(observed, spec, before):
            return _refused(observed, before, others, again=_TAKEN)
        return remote.plan(observed, spec, before)
    return _Planning(observed, spec, before).plan()


def _refused(
    observed: Observed, before: AgentStatus, fault: tuple[str, str], again: float | None = None
) -> Plan:
    status = telling.refused(observed.agent, before, fault, observed.now)
    return Plan(
        status=status if status != before.written() else None,
        events=telling.not_accepted(before, fault),
        again=again,
    )


@dataclass(frozen=True, slots=True)
class _Shares:
    """The rollout as it is to be: the table, where it stands, the versions' statuses, and what is told of it."""

    table: Rollout | None
    state: RolloutState
    statuses: Mapping[str, AgentVersionStatus]
    held: frozenset[str] = frozenset()
    events: tuple[Event, ...] = ()
    again: float | None = None
    lost: bool = False
    """Whether the registry has lost the table: then the statuses are all that is known of it."""


class _Planning:
    """One plan in the making."""

    def __init__(self, observed: Observed, spec: AgentSpec, before: AgentStatus) -> None:
        self._at = observed
        self._agent = observed.agent
        self._spec = spec
        self._before = before
        self._now = observed.now
        found = identify(
            observed.agent["metadata"]["name"],
            spec,
            observed.settings,
            observed.secrets,
            observed.configmaps,
        )
        self._fault = (found.reason, found.message) if isinstance(found, Unidentified) else None
        self._wanted = None if isinstance(found, Unidentified) else found
        every = versions_of(observed.versions, observed.children)
        self._versions = tuple(one for one in every if not one.deleting)
        self._by_version = {one.version: one for one in self._versions}
        # One that cannot be read is there all the same.
        self._known = frozenset(str(one["spec"].get("version")) for one in observed.versions)

    def plan(self) -> Plan:
        shares = self._shares()
        replicas, statuses = self._replicas(shares)
        gone, table = self._history(shares, statuses)
        statuses, troubles_told = self._with_messages(statuses)
        story = telling.Story(
            agent=self._agent,
            settings=self._at.settings,
            table=table,
            state=shares.state,
            versions=self._versions,
            statuses=statuses,
            replicas={name: count for name, count in replicas.items() if count is not None},
            url=making.url(self._at),
            fault=self._fault,
            worries=self._worries(shares),
            to_zero=self._spec.replicas == 0,
        )
        status = telling.told(story, self._before, self._now)
        return Plan(
            apply=making.wanted(self._at, self._spec, self._wanted, self._versions),
            table=table if table != self._at.table else None,
            status=status if status != self._before.written() else None,
            version_status={
                one.name: statuses[one.name].written()
                for one in self._versions
                if statuses[one.name] != one.status
            },
            events=(*telling.not_accepted(self._before, self._fault), *shares.events, *troubles_told),
            scale=tuple(self._scales(replicas)),
            latest=self._latest(table),
            unpublish=tuple(one.version for one in gone if one.version in self._at.published),
            delete=(
                # One that is published goes when the registry has let it go, which may take until its pods are forgotten.
                *(Ref("AgentVersion", one.name) for one in gone if one.version not in self._at.published),
                *making.superfluous(self._at, self._spec, self._versions),
            ),
            again=self._again(shares, statuses, leaving=bool(gone)),
        )

    # -- shares

    def _shares(self) -> _Shares:
        at, state = self._at, self._before.rollout or RolloutState()
        statuses = {one.name: one.status for one in self._versions}
        if at.table is None:
            held = frozenset({self._wanted.version}) if self._wanted else frozenset()
            return _Shares(None, state, statuses, held, again=_SOON)
        if restoring.is_lost(at.table, self._versions):
            found = restoring.restored(at.table, self._versions, at.published, state, self._now)
            return _Shares(found.table, found.state, statuses, frozenset(), found.events, 2.0, lost=True)
        course = advance(self._situation(at.table, state))
        held = self._held(at.table, course)
        wound = wind_down(
            course.table,
            self._versions,
            at.figures,
            self._spec.rollout,
            self._now,
            held=held,
            published=at.published,
            known=self._known,
        )
        table, events = self._listable(wound.table), (*course.events, *wound.events)
        if table != at.table and not {one.version for one in table.versions} <= at.published:
            # The registry would refuse it: a version that is in it has to publish itself again first.
            table, events = at.table, ()
        again = course.again
        if _only_says(state, course.state) and self._now - unclock(state.checked) < draining.COUNTED:
            return _Shares(table, state, wound.statuses, held, events, again)
        after = course.state
        if after.message != state.message:
            after = after.model_copy(update={"checked": clock(self._now)})
        return _Shares(table, after, wound.statuses, held, events, again)

    def _listable(self, table: Rollout) -> Rollout:
        """The table without old versions whose cards somebody has deleted: the registry takes no change with them."""
        kept = tuple(
            one
            for one in table.versions
            if one.state not in ("Drained", "Inactive") or one.version in self._at.published
        )
        return table if len(kept) == len(table.versions) else replace(table, versions=kept)

    def _situation(self, table: Rollout, state: RolloutState) -> Situation:
        at = self._at
        published = [one for one in self._versions if one.version in at.published]
        alive = {version for version, one in (at.figures or {}).items() if one.workers}
        return Situation(
            now=self._now,
            table=table,
            state=state,
            policy=self._spec.rollout,
            wanted=self._wanted.version if self._wanted else "",
            hash=self._wanted.hash if self._wanted else "",
            ready=frozenset(
                one.version
                for one in published
                if one.complete and one.available >= scaling.least(self._spec)
            ),
            serving=frozenset(one.version for one in published if one.available),
            known=self._known | alive,
            last_good=self._before.current_version,
            figures=at.figures,
            checks=at.checks,
        )

    def _held(self, table: Rollout, course: Course) -> frozenset[str]:
        """Versions that have to have pods whatever the table says: the one that is to be rolled out, and without a table the
        one that was good last."""
        held = set()
        state = course.state
        if self._wanted and (
            self._wanted.hash != state.target
            or state.phase == "Waiting"
            or (state.phase in ("Stepping", "Paused", "Done") and not table.versions)
        ):
            held.add(self._wanted.version)
        if not table.versions:
            held.add(self._before.current_version)
        return frozenset(held)

    # -- pods

    def _replicas(self, shares: _Shares) -> tuple[dict[str, int | None], dict[str, AgentVersionStatus]]:
        """How many pods each version is to have (None: that is left to others), by AgentVersion's name."""
        counts: dict[str, int | None] = {}
        statuses = dict(shares.statuses)
        for one in self._versions:
            count, status = self._count(one, statuses[one.name], shares)
            if count and one.name in self._at.scaled_by_others and one.replicas:
                count = None
            counts[one.name] = count
            there = one.replicas if count is None else count
            statuses[one.name] = status.model_copy(update={"replicas": there, "ready": one.available})
        return counts, statuses

    def _count(
        self, one: Version, status: AgentVersionStatus, shares: _Shares
    ) -> tuple[int | None, AgentVersionStatus]:
        figures = self._at.figures
        serves = one.version in shares.held or status.state in ("Current", "Ramping")
        if shares.table is None or shares.lost:
            # Never fewer than there are: what the table says now is not known.
            if not serves:
                return None, status
            count, status = scaling.serving(self._spec, one, status, figures, self._now)
            return (None if count is None else max(count, one.replicas)), status
        if serves:
            return scaling.serving(self._spec, one, status, figures, self._now)
        if status.drained_at is None:
            return scaling.draining(self._spec, one, status, figures, self._now)
        wakes = any(row.version == one.version and row.state == "Drained" for row in shares.table.versions)
        if wakes and figures is None:
            return None, status  # it may have been woken for tasks that go on
        waiting = figures[one.version].working if figures and one.version in figures else 0
        rested = draining.has_rested(status, self._spec.rollout, self._now)
        if wakes and (waiting or (one.replicas and not rested)):
            return max(one.replicas, 1), status
        return 0, status

    def _scales(self, replicas: Mapping[str, int | None]) -> Iterator[Scale]:
        for one in self._versions:
            count = replicas[one.name]
            if count is not None and one.deployment and count != one.replicas:
                yield Scale(Ref("Deployment", one.name), count)
        if self._wanted and self._wanted.version not in self._by_version and scaling.first(self._spec) != 1:
            name = version_name(self._wanted.agent, self._wanted.hash)
            yield Scale(Ref("Deployment", name), scaling.first(self._spec))

    # -- what goes

    def _history(
        self, shares: _Shares, statuses: Mapping[str, AgentVersionStatus]
    ) -> tuple[Sequence[Version], Rollout | None]:
        """Versions to be deleted now, and the table without those that go next."""
        table = shares.table
        if table is None or self._at.table is None or shares.lost:
            return (), table
        last = self._before.rollout.version if self._before.rollout else ""
        wanted = self._wanted.version if self._wanted else last
        old = [one for one in self._versions if one.version != wanted]
        gone = draining.expired(table, old, statuses, self._spec.rollout.history_limit)
        in_table = {row.version for row in self._at.table.versions}
        going = {one.version for one in gone}
        kept = tuple(
            row
            for row in table.versions
            if row.version not in going or row.state not in ("Drained", "Inactive")
        )
        if len(kept) < len(table.versions):
            table = replace(table, versions=kept)
        # The registry gives up the latest version last: it stays until another is.
        return [one for one in gone if one.version not in in_table | {self._at.latest}], table

    # -- what is told

    def _with_messages(
        self, statuses: Mapping[str, AgentVersionStatus]
    ) -> tuple[dict[str, AgentVersionStatus], list[Event]]:
        told, events = dict(statuses), []
        for one in self._versions:
            found = troubles(one, self._at.pods) if one.replicas and not one.complete else ()
            told[one.name], fresh = news(one, told[one.name], found)
            events += fresh
        return told, events

    def _worries(self, shares: _Shares) -> list[tuple[str, str]]:
        at, state = self._at, shares.state
        found = []
        if at.table is None:
            said = f"the registry cannot be reached, all shares stay as they are: {at.registry_error}"
            found.append(("RegistryUnreachable", said))
        if shares.lost:
            found.append(restoring.LOST)
        target = self._by_version.get(state.version)
        if (
            state.phase in ("Waiting", "Stepping")
            and target
            and not target.complete
            and self._spec.replicas != 0
        ):
            said = in_words(troubles(target, at.pods))
            late = self._now - unclock(state.started) >= seconds(self._spec.rollout.progress_deadline)
            if late and state.phase == "Waiting":
                waits = (
                    f"the pods of {state.version} have not come up in {self._spec.rollout.progress_deadline}"
                )
                found.append(("ProgressDeadlineExceeded", f"{waits}{': ' if said else ''}{said}"))
            elif said:
                found.append(("PodsNotStarting", f"{state.version}: {said}"))
        if at.table and shifting.canary(at.table) and at.figures is None and self._judges():
            found.append(("FiguresUnknown", f"how the versions do is not known: {at.figures_error}"))
        return found

    def _judges(self) -> bool:
        policy = self._spec.rollout
        return policy.analysis is not None or any(step.analysis for step in policy.steps)

    def _latest(self, table: Rollout | None) -> str:
        if table is None or not self._at.latest:
            return ""
        current = table.current
        return current if current in self._at.published and current != self._at.latest else ""

    def _again(
        self, shares: _Shares, statuses: Mapping[str, AgentVersionStatus], *, leaving: bool
    ) -> float | None:
        times = [shares.again, _SOON if leaving else None]
        winding = any(one.draining_since and not one.drained_at for one in statuses.values())
        if winding or scaling.follows_tasks(self._spec):
            times.append(_SOON)
        if any(one.state == "Drained" for one in statuses.values()):
            times.append(_WAKING)
        if shares.state.phase == "Waiting" and shares.state.started:
            left = unclock(shares.state.started) + seconds(self._spec.rollout.progress_deadline) - self._now
            times.append(left + 1.0 if left > 0 else None)
        if not making.url(self._at):
            times.append(_ADDRESS)
        return min((one for one in times if one is not None), default=None)


def _only_says(before: RolloutState, after: RolloutState) -> bool:
    """Whether nothing is new but the words, which may change with every task."""
    return bool(before.checked) and before == after.model_copy(update={"message": before.message})
