"""How a task went, its children included, read from the stores of the hosts that ran it."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import httpx

from parley_agents.orchestrator.errors import CallFailed, CallRefused, NotLetIn, TaskGone
from parley_cli.access import Access
from parley_cli.render import clean, duration
from parley_cli.story import state_name
from parley_core.bearer import Bearer

if TYPE_CHECKING:
    from rich.tree import Tree

MAX_DEPTH = 8
MAX_TASKS = 500
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time: a durable step, or an execution (`work`). Times are seconds since the epoch;
    `ended` None: not yet."""

    name: str
    started: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Takeover:
    """An attempt that was lost: its worker said nothing for as long as a lease lasts, so another one took the task
    over `at` that time (seconds since the epoch)."""

    worker: str
    at: float


@dataclass(frozen=True, slots=True)
class Traced:
    """A task and its children. `missing` says why nothing is known of it, or ""."""

    agent: str
    url: str
    task: str
    state: str = ""
    version: str = ""
    accepted: float = 0.0
    works: tuple[Span, ...] = ()
    steps: tuple[Span, ...] = ()
    events: int = 0
    takeovers: tuple[Takeover, ...] = ()
    children: "tuple[tuple[str, Traced], ...]" = ()
    """Each with the name of the step that began it."""
    missing: str = ""

    def to_json(self) -> dict[str, Any]:
        """The whole tree as one JSON object."""
        return asdict(self)


async def read(agent: str, base: str, task_id: str, access: Access) -> Traced:
    """The trace of a task on the Parley host at `base`, with its children's, wherever they are.

    The token goes to that host alone: where the children are, agents have said. Raises TaskGone when the host does
    not know the task, NotLetIn when it wants another token, CallFailed when it does not answer. A child whose host
    does not tell is only named.
    """
    async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http:
        return await _Reading(http, base, access.token).read(agent, base, task_id, 0)


class _Reading:
    def __init__(self, http: httpx.AsyncClient, base: str, token: Bearer | None) -> None:
        self._http = http
        self._base = base
        self._token = token
        self._left = MAX_TASKS

    async def read(self, agent: str, base: str, task_id: str, depth: int) -> Traced:
        told = await self._get(agent, base, task_id)
        steps = [step for step in told.get("steps", ()) if isinstance(step, dict)]
        children = (
            [(step["name"], child) for step in steps if (child := _child(step))] if depth < MAX_DEPTH else []
        )
        found = await asyncio.gather(*(self._of_child(child, depth + 1) for _, child in children))
        works = [work for work in told.get("work", ()) if isinstance(work, dict)]
        state = told.get("state")
        return Traced(
            agent=agent,
            url=base,
            task=task_id,
            state=state_name(state) if isinstance(state, int) else str(state or ""),
            version=str(told.get("version", "")),
            accepted=min((float(work["accepted"]) for work in works), default=0.0),
            works=tuple(
                Span(
                    f"{w.get('kind', 'work')} {w.get('number', '')}".strip(),
                    float(w["started"]),
                    w.get("ended"),
                )
                for w in works
                if w.get("started") is not None
            ),
            steps=tuple(
                Span(str(s["name"]), float(s["started"]), s.get("ended")) for s in steps if not _child(s)
            ),
            events=len(told.get("events", ())),
            takeovers=tuple(
                Takeover(str(one.get("worker", "")), float(one["at"]))
                for one in told.get("takeovers", ())
                if isinstance(one, dict)
            ),
            children=tuple((name, one) for (name, _), one in zip(children, found, strict=True)),
        )

    async def _of_child(self, child: Mapping[str, str], depth: int) -> Traced:
        agent, url, task_id = child["agent"], child["url"], child["taskId"]
        self._left -= 1
        if self._left < 0:
            return Traced(agent, url, task_id, missing="not read: the tree is too large")
        parts = httpx.URL(url)
        base = f"{parts.scheme}://{parts.netloc.decode()}"
        try:
            return await self.read(agent, base, task_id, depth)
        except (CallFailed, CallRefused) as error:
            return Traced(agent, url, task_id, missing=str(error))

    async def _get(self, agent: str, base: str, task_id: str) -> dict[str, Any]:
        try:
            answer = await self._http.get(
                httpx.URL(base).join(
                    f"/parley/v1/tasks/{httpx.URL(path=task_id).raw_path.decode().lstrip('/')}/trace"
                ),
                auth=self._token if base == self._base else None,
            )
            if answer.status_code in (401, 403):
                raise NotLetIn(f"{agent} at {base} does not let us in ({answer.status_code})")
            if answer.status_code == 404:
                raise TaskGone(f"{agent} at {base} keeps no trace of task {task_id}")
            answer.raise_for_status()
            told = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise CallFailed(
                f"{agent} at {base} does not tell how the task went: {error or type(error).__name__}"
            ) from error
        return told if isinstance(told, dict) else {}


def _child(step: Mapping[str, Any]) -> Mapping[str, str] | None:
    """What a step named `child:…` says of the task that it began elsewhere."""
    result = step.get("result")
    if not str(step.get("name", "")).startswith("child:") or not isinstance(result, dict):
        return None
    wanted = {key: result.get(key) for key in ("agent", "url", "taskId")}
    return wanted if all(isinstance(value, str) and value for value in wanted.values()) else None  # type: ignore[return-value]


def tree(traced: Traced) -> "Tree":
    """The trace as a tree for the terminal: offsets from the beginning, durations, who."""
    from rich.tree import Tree

    start = traced.accepted or min(_starts(traced), default=0.0)
    root = Tree(_label(traced, start, ""))
    _grow(root, traced, start)
    return root


def _grow(branch: "Tree", traced: Traced, start: float) -> None:
    from rich.text import Text

    rows: list[tuple[float, Span | Takeover | tuple[str, Traced]]] = [
        *((span.started, span) for span in (*traced.works, *traced.steps)),
        *((lost.at, lost) for lost in traced.takeovers),
    ]
    rows += [(one.accepted or start, (name, one)) for name, one in traced.children]
    for at, row in sorted(rows, key=lambda pair: pair[0]):
        if isinstance(row, Span):
            took = "not finished" if row.ended is None else duration(row.ended - row.started)
            style = "bold" if row in traced.works else ""
            line = Text(f"+{max(0.0, at - start):.2f} s  ", style="dim")
            line.append(clean(row.name, 80), style=style).append(f"  {took}", style="cyan")
            branch.add(line)
        elif isinstance(row, Takeover):
            line = Text(f"+{max(0.0, at - start):.2f} s  ", style="dim")
            branch.add(line.append(f"attempt of {clean(row.worker, 60)} lost, taken over", style="yellow"))
        else:
            name, child = row
            _grow(branch.add(_label(child, start, name)), child, start)


def _label(traced: Traced, start: float, name: str) -> Any:
    from rich.text import Text

    line = Text()
    if name and traced.accepted:
        line.append(f"+{max(0.0, traced.accepted - start):.2f} s  ", style="dim")
    if name:
        line.append(clean(name.removeprefix("child:"), 60) + "  ")
    line.append(f"{clean(traced.agent, 40)} {clean(traced.version, 20)}".strip(), style="bold cyan")
    if traced.missing:
        return line.append(f"  {clean(traced.missing)}", style="yellow")
    ends = [span.ended for span in traced.works if span.ended is not None]
    if ends and traced.accepted:
        line.append(f"  {duration(max(ends) - traced.accepted)}", style="cyan")
    line.append(f"  {traced.state}  {traced.events} events  task {clean(traced.task[:8])}", style="dim")
    if traced.takeovers:
        count = len(traced.takeovers)
        line.append(f"  {count} attempt{'s' if count > 1 else ''} lost", style="yellow")
    return line


def _starts(traced: Traced) -> Iterator[float]:
    yield from (span.started for span in (*traced.works, *traced.steps))
