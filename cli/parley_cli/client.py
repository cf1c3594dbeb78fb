"""The Python API: give the team a job and see what comes of it.

    from parley_cli import Parley

    async with Parley() as client:
        async for event in client.run("modernise the code", repo="."):
            print(event)

A job belongs to the platform, not to the client: leave the loop or lose the process and it goes on; `watch`
takes it up again from the start of its story. `run_sync` is the same in one call for programs without asyncio.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from a2a.types import a2a_pb2 as pb

from parley_agents.artifacts import SKILL_DELIVER
from parley_agents.bundles import Exchange
from parley_agents.settings import AgentSettings, load_settings
from parley_cli import blobserver, jobs, local, results
from parley_cli.access import Access
from parley_cli.events import (
    AgentStatus,
    Event,
    InputRequired,
    JobEnded,
    JobStarted,
)
from parley_cli.given import Given, gather, message_for
from parley_cli.home import Home
from parley_cli.jobs import Jobs, NoSuchTask
from parley_cli.outcome import JobResult, Outcome
from parley_cli.remote import NoSuchAgent, Remote, find
from parley_cli.story import Story

ORCHESTRATOR = "orchestrator"
DEFAULT_OUT = "parley-out"


class Parley:
    """A client of the embedded platform in `home`, which is started when it does not run.

    `registry` is the URL of another platform's registry to use instead, `token_file` holds the bearer token that
    its agents want (by default PARLEY_TOKEN_FILE names the file, or PARLEY_TOKEN is the token). `keep` leaves a
    platform that this client started running when it closes; otherwise the last client ends it. All methods raise
    ParleyError with a message fit for people.
    """

    def __init__(
        self,
        *,
        home: str | Path | None = None,
        registry: str = "",
        token_file: str | Path | None = None,
        keep: bool = False,
    ) -> None:
        self.home = Home.at(home)
        self.jobs = Jobs(self.home)
        self._registry = registry or os.environ.get("PARLEY_REGISTRY", "")
        self._access = Access.given(token_file)
        self._keep = keep
        self._use: local.Attachment | None = None
        self._http: httpx.AsyncClient | None = None
        self._answered: set[str] = set()

    async def __aenter__(self) -> Self:
        self._http = self._access.http()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http:
            await self._http.aclose()
        if self._use:
            await asyncio.shield(asyncio.to_thread(self._use.release))

    async def registry(self) -> str:
        """URL of the registry in use; starts the platform if need be. Raises PlatformError."""
        if self._registry:
            return self._registry
        if self._use is None:
            self._use = await asyncio.to_thread(local.attach, self.home)
            if self._keep:
                self._use.keep()
        return self._use.platform.registry

    @property
    def lasting(self) -> bool:
        """Whether the platform, and so a job on it, goes on when this client closes."""
        return bool(self._registry) or self._use is None or self._use.kept

    def keep(self) -> None:
        """Have the platform stay when this client closes, until `parley down`."""
        self._keep = True
        if self._use:
            self._use.keep()

    async def run(
        self,
        task: str,
        *,
        repo: str | Path | None = None,
        out: str | Path = DEFAULT_OUT,
        context: str = "",
        rounds: int | None = None,
        timeout: float | None = None,
        approve: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """Give the team a task and yield what happens, until the job ends or waits for an answer.

        `repo` is a git repository (any folder in it); its tracked files as they are now are the snapshot that
        the team works on, and it is never written to. `context` continues an earlier job's conversation
        ("last": the latest one's); without `repo` the team then goes on from what that job delivered.
        `rounds` bounds how often one step is tried, `timeout` (seconds) the whole job; `approve` has it ask
        before it delivers. The last event is JobEnded, with the files written to a folder of the job's own in
        `out`, or InputRequired: `answer` it inside the loop and the events go on.
        """
        given = await gather(self.jobs, ORCHESTRATOR, task, repo, context, out)
        remote = await self._orchestrator()
        options = {"rounds": rounds, "seconds": timeout, "approve": approve or None}
        message = await message_for(given, self._exchange(), options)
        async with aclosing(
            self._tell(remote, remote.converse(message, seconds=timeout or 3600.0), given, given.out)
        ) as events:
            async for event in events:
                yield event

    async def start(
        self,
        task: str,
        *,
        repo: str | Path | None = None,
        out: str | Path = DEFAULT_OUT,
        context: str = "",
        rounds: int | None = None,
        timeout: float | None = None,
        approve: bool = False,
    ) -> str:
        """Like `run`, but return the job's id at once; the platform is kept running for it."""
        self.keep()
        given = await gather(self.jobs, ORCHESTRATOR, task, repo, context, out)
        remote = await self._orchestrator()
        options = {"rounds": rounds, "seconds": timeout, "approve": approve or None}
        begun = await remote.start(await message_for(given, self._exchange(), options))
        if not isinstance(begun, pb.Task):
            raise NoSuchTask(f"{remote.card.name} answered without beginning a job")
        self._remember(begun.id, begun.context_id, given)
        return begun.id

    async def watch(self, job: str, *, out: str | Path | None = None) -> AsyncGenerator[Event, None]:
        """The whole story of a job so far and what goes on to happen, as `run` yields it.

        `job` is its id, the unique beginning of one, or "last". The result is written where the job was told
        to when it began, or to `out`.
        """
        known = self.jobs.find(job)
        remote = await self._orchestrator()
        task_id = known.task if known else job
        place = Path(out) if out is not None else None
        async with aclosing(self._tell(remote, remote.follow(task_id), None, place)) as events:
            async for event in events:
                yield event

    async def answer(self, job: str, text: str) -> None:
        """Answer the question of a job that waits for one; it then goes on."""
        known = self.jobs.find(job)
        remote = await self._orchestrator()
        task_id = known.task if known else job
        self._answered.add(task_id)
        await remote.start(
            pb.Message(
                message_id=str(uuid.uuid4()), role=pb.ROLE_USER, task_id=task_id, parts=[pb.Part(text=text)]
            )
        )

    async def cancel(self, job: str) -> str:
        """Cancel a job with everything it has delegated; its state then."""
        from parley_cli.story import state_name

        known = self.jobs.find(job)
        remote = await self._orchestrator()
        task = await remote.cancel(known.task if known else job)
        return state_name(task.status.state)

    async def agent(self, name: str) -> Remote:
        """Any agent, by its name in the registry or its URL."""
        assert self._http, "use the client as an async context manager"
        return await find(name, await self.registry(), self._access, self._http)

    async def _orchestrator(self) -> Remote:
        assert self._http, "use the client as an async context manager"
        registry = await self.registry()
        async with self._access.catalogue(registry) as catalogue:
            page = await catalogue.search(skill=SKILL_DELIVER, limit=10)
        hits = sorted(page.entries, key=lambda hit: (hit.entry.health != "up", not hit.entry.latest))
        if not hits:
            raise NoSuchAgent(
                f"no agent with the skill {SKILL_DELIVER!r} is registered at {registry}: see `parley status`"
            )
        return Remote(hits[0].entry.card, self._http)

    async def _tell(
        self,
        remote: Remote,
        answers: AsyncGenerator[pb.StreamResponse, None],
        given: Given | None,
        out: Path | None,
    ) -> AsyncGenerator[Event, None]:
        """A task's stream as events, over the answers that are given while they are read."""
        story = Story(remote.card.name, remote.url)
        while True:
            asked: InputRequired | None = None
            async with aclosing(answers) as responses:
                async for response in responses:
                    for event in story.take(response):
                        if asked:  # something came after it, so it was answered
                            yield AgentStatus(job=asked.job, at=asked.at, text=f"asked: {asked.question}")
                            asked = None
                        if isinstance(event, JobStarted) and given:
                            self._remember(event.job, event.context, given)
                        if isinstance(event, InputRequired):
                            asked = event
                        elif isinstance(event, JobEnded):
                            yield await self._delivered(remote, event, out)
                        else:
                            yield event
            if asked is None:
                return
            yield await self._delivered(remote, asked, out)
            if story.job not in self._answered:
                return
            self._answered.discard(story.job)
            answers = remote.follow(story.job, after=story.generation)

    async def _delivered(
        self, remote: Remote, event: JobEnded | InputRequired, out: Path | None
    ) -> JobEnded | InputRequired:
        """The event, with what the job has delivered so far written to its folder."""
        known = self.jobs.find(event.job)
        folder = (
            Path(known.out) if known and known.out else results.folder_for(out, event.job) if out else None
        )
        if folder is None:
            return event
        contents, commit = await results.collect(await remote.get(event.job), self._exchange())
        if "change.patch" not in contents:
            return event
        notes: list[str] = []
        if known and contents.get("change.bundle"):
            change = contents["change.bundle"]
            notes = await results.onto_head(contents, commit, known, self.jobs.bundle(known, "snapshot"))
            self.jobs.remember(replace(known, delivered=commit), change=change)
        files = tuple(sorted(await asyncio.to_thread(results.write, folder, contents)))
        if isinstance(event, JobEnded):
            return replace(event, out_dir=str(folder), files=files, notes=tuple(notes))
        return replace(event, out_dir=str(folder), files=files)

    def _remember(self, task: str, context: str, given: Given) -> None:
        job = jobs.new(task, context, ORCHESTRATOR, given.text)
        out = str(results.folder_for(given.out.absolute(), task))
        if given.earlier:
            base = replace(given.earlier, task=task, context=context, text=job.text, created=job.created)
            job = replace(base, out=out, delivered="")
        elif given.taken:
            taken = given.taken
            job = replace(
                job, repo=given.repo, head=taken.head, snapshot=taken.commit, dirty=taken.dirty, out=out
            )
        self.jobs.remember(job, **({"snapshot": given.bundle} if given.bundle else {}))

    def _exchange(self) -> Exchange:
        if self._use is None:
            return Exchange.from_settings(load_settings())
        told = blobserver.environment(self.home, self._use.platform.blobs)
        given: dict[str, Any] = {name.removeprefix("PARLEY_").lower(): value for name, value in told.items()}
        return Exchange.from_settings(AgentSettings(home=self.home.root, **given))


def run_sync(
    task: str,
    *,
    repo: str | Path | None = None,
    out: str | Path = DEFAULT_OUT,
    home: str | Path | None = None,
    registry: str = "",
    token_file: str | Path | None = None,
    keep: bool = False,
    on_event: Callable[[Event], str | None] | None = None,
    context: str = "",
    rounds: int | None = None,
    timeout: float | None = None,
    approve: bool = False,
) -> JobResult:
    """Give the team a task and wait for the result; see `Parley` and `Parley.run` for the arguments.

    `on_event` is called with each event; what it returns for an InputRequired is sent as the answer. Without
    an answer the result has the state "input-required".
    """

    async def job() -> JobResult:
        outcome = Outcome()
        async with Parley(home=home, registry=registry, token_file=token_file, keep=keep) as client:
            async with aclosing(
                client.run(
                    task, repo=repo, out=out, context=context, rounds=rounds, timeout=timeout, approve=approve
                )
            ) as events:
                async for event in events:
                    outcome.take(event)
                    said = on_event(event) if on_event else None
                    if isinstance(event, InputRequired):
                        if said:
                            await client.answer(event.job, said)
                        else:
                            client.keep()
        return outcome.result

    return asyncio.run(job())
