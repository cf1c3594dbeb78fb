"""A task as a page shows it, and what each event changes of it.

All of it is data of the agent: text stays text, files are offered for download, links are shown as links only if they are http(s).
What is shown of one task is limited; what is beyond can be had from the agent.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict

from parley_registry.pages.rendering import fragment, pretty

MAX_TEXT = 512 * 1024
"""Characters shown of one task."""
MAX_PARTS = 400
"""Parts shown of one task."""
SETTLED = frozenset(
    {
        pb.TASK_STATE_COMPLETED,
        pb.TASK_STATE_FAILED,
        pb.TASK_STATE_CANCELED,
        pb.TASK_STATE_REJECTED,
        pb.TASK_STATE_INPUT_REQUIRED,
        pb.TASK_STATE_AUTH_REQUIRED,
    }
)
"""States after which nothing happens unless somebody writes."""
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Media types that are shown as pictures."""


@dataclass(slots=True)
class Part:
    """One part: `text` of text and data, `name` of files, `url` of links."""

    kind: Literal["text", "data", "file", "image", "link"]
    number: int
    text: str = ""
    name: str = ""
    url: str = ""
    media_type: str = ""
    size: int = 0


@dataclass(slots=True)
class Artifact:
    """One artifact; `number` names it within the page, `told` counts its parts as the agent does. Texts that follow one
    another are shown as one."""

    id: str
    number: int
    name: str = ""
    description: str = ""
    parts: list[Part] = field(default_factory=list)
    told: int = 0


@dataclass(slots=True)
class TaskView:
    """A task as far as it was told. `take` changes it and gives what a page that shows it has to change, as partials of htmx;
    `context` goes to the templates with each of them."""

    context: dict[str, Any]
    id: str = ""
    context_id: str = ""
    state: int = pb.TASK_STATE_SUBMITTED
    says: list[Part] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    cut: bool = False
    _text: int = 0
    _parts: int = 0

    @property
    def settled(self) -> bool:
        """Whether it goes no further by itself."""
        return self.state in SETTLED

    @property
    def state_name(self) -> str:
        """Its state in words."""
        return (
            pb.TaskState.Name(pb.TaskState.ValueType(self.state))
            .removeprefix("TASK_STATE_")
            .replace("_", " ")
            .lower()
        )

    @property
    def wants(self) -> bool:
        """Whether the agent waits for an answer."""
        return self.state == pb.TASK_STATE_INPUT_REQUIRED

    def take(self, event: pb.StreamResponse) -> Iterator[str]:
        """Take in an event; partials for the page."""
        if event.HasField("task"):
            self.show(event.task)
            yield fragment("_task.html", part="whole", task=self, **self.context)
        elif event.HasField("status_update"):
            self._take_status(event.status_update.status)
            yield fragment("_task.html", part="state", task=self, **self.context)
        elif event.HasField("artifact_update"):
            yield from self._take_artifact(event.artifact_update)

    def show(self, task: pb.Task) -> None:
        """Forget what was told and begin from this."""
        self.id, self.context_id = task.id, task.context_id
        self.artifacts, self._text, self._parts, self.cut = {}, 0, 0, False
        self._take_status(task.status)
        self.asked = [
            text
            for message in task.history
            if message.role == pb.ROLE_USER
            for text in (part.text for part in message.parts if part.text)
        ][:8]
        for artifact in task.artifacts:
            self._put(artifact)

    def _take_status(self, status: pb.TaskStatus) -> None:
        self.state = status.state
        self.says = list(_shown(status.message.parts))

    def _take_artifact(self, event: pb.TaskArtifactUpdateEvent) -> Iterator[str]:
        known = self.artifacts.get(event.artifact.artifact_id)
        if known is None or not event.append:
            made = self._put(event.artifact)
            fresh = known is None
            yield fragment(
                "_task.html", part="artifact", task=self, artifact=made, fresh=fresh, **self.context
            )
            return
        for part, into in self._add(known, event.artifact.parts):
            if into is not None:
                yield fragment("_task.html", part="chunk", artifact=known, into=into, text=part.text)
            else:
                yield fragment("_task.html", part="more", artifact=known, one=part, **self.context)

    def _put(self, artifact: pb.Artifact) -> Artifact:
        known = self.artifacts.get(artifact.artifact_id)
        number = known.number if known else len(self.artifacts)
        made = Artifact(artifact.artifact_id, number, artifact.name, artifact.description)
        self.artifacts[made.id] = made
        for _ in self._add(made, artifact.parts):
            pass
        return made

    def _add(self, artifact: Artifact, parts: Sequence[pb.Part]) -> Iterator[tuple[Part, Part | None]]:
        """Add parts as far as the limits allow: each, and the text that it goes on with if it is more of that."""
        first, artifact.told = artifact.told, artifact.told + len(parts)
        for part in _shown(parts, first):
            if self._parts >= MAX_PARTS or self._text >= MAX_TEXT:
                self.cut = True
                return
            self.cut = self.cut or len(part.text) > MAX_TEXT - self._text
            part.text = part.text[: MAX_TEXT - self._text]
            self._text += len(part.text)
            last = artifact.parts[-1] if artifact.parts else None
            if last and last.kind == part.kind == "text" and part.media_type in ("", last.media_type):
                last.text += part.text
                yield part, last
            else:
                self._parts += 1
                artifact.parts.append(part)
                yield part, None


def parts_of(message: pb.Message) -> list[Part]:
    """The parts of a message that is all of an answer."""
    return list(_shown(message.parts))[:MAX_PARTS]


def _shown(parts: Iterable[pb.Part], first: int = 0) -> Iterator[Part]:
    for number, part in enumerate(parts, first):
        media_type, name = part.media_type.partition(";")[0].strip().lower(), part.filename
        match part.WhichOneof("content"):
            case "text":
                yield Part("text", number, text=part.text, name=name, media_type=media_type)
            case "data":
                yield Part(
                    "data", number, text=pretty(MessageToDict(part.data)), name=name, media_type=media_type
                )
            case "url":
                yield Part("link", number, url=part.url, name=name, media_type=media_type)
            case "raw" if media_type in IMAGES:
                yield Part("image", number, name=name, media_type=media_type, size=len(part.raw))
            case "raw":
                readable = media_type.startswith("text/") or media_type.endswith(("json", "xml"))
                text = part.raw.decode("utf-8", "replace") if readable else ""
                yield Part("file", number, text=text, name=name, media_type=media_type, size=len(part.raw))
