"""The course of a task, from the client's message to the delivered change.

It is written as if nothing could ever interrupt it. What is done is found again in the journal, so after a
crash, and at each answer of the client, it simply runs from its beginning to where it had got.
"""

from a2a.types import a2a_pb2 as pb

from parley_agents.artifacts import (
    DIFF,
    GIT_BUNDLE,
    JUNIT,
    MARKDOWN,
    PLAN,
    SARIF,
    SKILL_PLAN,
    Feedback,
    Plan,
    PlanStep,
    StepRequest,
)
from parley_agents.bundles import Exchange
from parley_agents.orchestrator.answers import plan_in
from parley_agents.orchestrator.delegate import delegate
from parley_agents.orchestrator.deliver import Delivery, verify
from parley_agents.orchestrator.errors import OrchestratorError
from parley_agents.orchestrator.job import Job
from parley_agents.orchestrator.line import Line, Start
from parley_agents.orchestrator.loop import Team
from parley_agents.orchestrator.options import DeliverRequest
from parley_agents.orchestrator.order import Order
from parley_agents.orchestrator.questions import Approval, Question, approval
from parley_agents.orchestrator.report import report
from parley_agents.orchestrator.request import Missing, read_repository
from parley_agents.orchestrator.schedule import Schedule
from parley_agents.workspace import open_workspace

# Keys that begin with ~ are ours: no step of a plan can have such an id.
_ASKS = 5
"""How often one thing is asked before we give up on an answer that can be used."""
_EMPTY_SARIF = '{"$schema":"https://json.schemastore.org/sarif-2.1.0.json","version":"2.1.0","runs":[]}'
_EMPTY_JUNIT = '<?xml version="1.0" encoding="utf-8"?>\n<testsuites/>\n'


class Declined(OrchestratorError):
    """The client does not want the change."""


async def deliver(job: Job, request: DeliverRequest, parts: list[pb.Part]) -> Delivery:
    """Do the task, and put its artifacts into the stream. The last status is left to the caller.

    Raises NeedsClient when the client must answer first, Declined, and ParleyError when it cannot be done.
    """
    start = await _repository(job, request, parts)
    async with open_workspace(start.snapshot.ref.commit, [start.snapshot.data]) as workspace:
        line = Line(workspace, start)
        await line.prepare()
        team = Team(job, line, request.goal)
        plan = await _plan(team)
        await job.relay.artifact("plan.json", pb.Part(text=plan.model_dump_json(indent=2), media_type=PLAN))
        feedback: list[Feedback] = []
        shown = ""
        for take in range(1, job.options.rounds + 1):
            carried = await Schedule(team, plan, take, feedback).run()
            delivery = await verify(team, carried, "~final" if take == 1 else f"~final~take{take}")
            await _hand_over(team, plan, delivery)
            word = await _approved(job, delivery, take, same=delivery.commit == shown)
            shown = delivery.commit
            if word.what == "approve":
                return delivery
            if not word.reason:
                raise Declined("the client rejected the change")
            feedback.append(Feedback(source="client", text=word.reason))
            await job.relay.say(f"rejected by the client, done again: {word.reason[:500]}")
        raise Declined(f"the client rejected the change {job.options.rounds} times: {feedback[-1].text}")


async def _repository(job: Job, request: DeliverRequest, parts: list[pb.Part]) -> Start:
    """Where to start; asks the client for the repository until it has come along."""
    found = await read_repository(request, parts, job.exchange)
    for number in range(1, _ASKS + 1):
        if isinstance(found, Start):
            return found
        question = Question(
            id=f"repository.{number}",
            text=f"I need the repository to work on: {found.reason}. Send it as a git bundle, in a raw or url "
            f"part of media type {GIT_BUNDLE} with the filename <commit>.bundle.",
        )
        parts = await job.ask(question)
        found = await read_repository(request, parts, job.exchange)
    assert isinstance(found, Missing)
    raise OrchestratorError(f"there is no repository to work on: {found.reason}")


async def _plan(team: Team) -> Plan:
    base_ref, _, bundles = await team.line.bundles(team.line.start.commit)
    step = PlanStep(id="plan", title="Plan the change", skill=SKILL_PLAN, instructions=team.goal)
    request = StepRequest(goal=team.goal, step=step, base=base_ref, options=team.job.options.for_children)
    until, longest = team.job.steps_until, team.job.options.step_seconds

    async def read(task: pb.Task) -> Plan:
        return plan_in(task)

    try:
        order = Order("~plan", "planner", SKILL_PLAN, request, bundles, until, longest)
        return await delegate(team.job, order, read)
    except OrchestratorError as error:
        raise OrchestratorError(f"there is no plan: {error}") from error


async def _approved(job: Job, delivery: Delivery, take: int, *, same: bool) -> Approval:
    """The client's word on what is ready, if it wants to be asked. What does not pass is not offered.

    `same`: it is what the client has rejected before, so the client is told that its words changed nothing.
    """
    if not job.options.approve or delivery.empty or not delivery.verified:
        return Approval("approve")
    count = len(delivery.accepted)
    ready = (
        "The team made the same change again: it could not tell from your words what to leave out. "
        "Name files, rules or steps as report.md names them. Deliver it as it is?"
        if same
        else f"{count} step{'s are' if count != 1 else ' is'} ready and verified. Deliver {'them' if count != 1 else 'it'}?"
    )
    text = (
        f"{ready} See change.patch and report.md, then answer “approve”, “reject”, or "
        "“reject: what should be different”."
    )
    for number in range(1, _ASKS + 1):
        word = approval(await job.ask(Question(f"approve.{take}.{number}", text)))
        if word.what != "unclear":
            return word
        text = "I did not understand that. Answer “approve”, “reject”, or “reject: what should be different”."
    raise Declined("the client gave no answer that could be understood")


async def _hand_over(team: Team, plan: Plan, delivery: Delivery) -> None:
    """The task's own artifacts; made again after another round, they replace the ones before."""
    relay, exchange = team.job.relay, team.job.exchange
    diff = "" if delivery.empty else await team.line.diff(delivery.commit)
    try:
        data = diff.encode()
        patch = pb.Part(text=diff, media_type=DIFF, filename="change.patch")
    except UnicodeEncodeError:  # the files are not all UTF-8
        data = diff.encode("utf-8", "surrogateescape")
        patch = pb.Part(raw=data, media_type=DIFF, filename="change.patch")
    if len(data) > 1024 * 1024:
        patch = await exchange.part(data, DIFF, "change.patch")
    await relay.artifact("change.patch", patch)
    statistics = []
    if not delivery.empty:
        bundle = await team.line.bundle(delivery.commit)
        await relay.artifact("change.bundle", await exchange.bundle_part(delivery.commit, bundle))
        statistics = await team.line.statistics(delivery.commit)
    judged = delivery.judged
    sarif = judged.review.sarif if judged.review else _EMPTY_SARIF
    junit = (judged.tests.junit if judged.tests else "") or _EMPTY_JUNIT
    for name, text, media_type in (
        ("review.sarif", sarif, SARIF),
        ("junit.xml", junit, JUNIT),
        ("report.md", report(team.goal, plan, delivery, statistics, relay.children), MARKDOWN),
    ):
        await relay.artifact(name, await _document(exchange, text, media_type, name))


async def _document(exchange: Exchange, text: str, media_type: str, name: str) -> pb.Part:
    data = text.encode("utf-8", "replace")
    if len(data) > 1024 * 1024:
        return await exchange.part(data, media_type, name)
    return pb.Part(text=data.decode(), media_type=media_type, filename=name)
