"""`parley send`: say something to any A2A agent."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from parley_cli.options import Json, Namespace, Registry, TokenFile, complete, registry_of, text_of

if TYPE_CHECKING:
    from a2a.types import a2a_pb2 as pb

    from parley_cli.access import Access
    from parley_cli.home import Home


def send(
    context: typer.Context,
    agent: Annotated[
        str, typer.Argument(help="Name in the registry, NAME@VERSION, or the URL of any A2A agent.")
    ],
    text: Annotated[str, typer.Argument(help="What to say; - reads it from standard input.")],
    conversation: Annotated[
        str,
        typer.Option(
            "--context", envvar="PARLEY_CONTEXT", metavar="last|ID", help="Go on in a conversation."
        ),
    ] = "",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", envvar="PARLEY_DETACH", help="Print the task's id and return.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(envvar="PARLEY_TIMEOUT", min=1, help="Seconds to wait for an agent that cannot stream."),
    ] = 600.0,
    as_json: Json = False,
    registry: Registry = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """Send a message to an agent and print what it answers.

    Text that it makes goes to standard output, what it says on the way to standard error. With --json each
    line is an A2A StreamResponse. Exit code 0: answered or completed; 1: failed, or waits for more from you.
    """
    from parley_cli.access import Access
    from parley_cli.remote import is_url

    words = text_of(context, text)
    access = Access.given(token_file)
    place = "" if is_url(agent) else registry_of(context.obj, registry, namespace)
    done = complete(_send(context.obj, place, access, agent, words, conversation, detach, timeout, as_json))
    raise typer.Exit(0 if done else 1)


async def _send(
    home: "Home",
    registry: str,
    access: "Access",
    agent: str,
    text: str,
    conversation: str,
    detach: bool,
    timeout: float,
    as_json: bool,
) -> bool:
    import uuid
    from contextlib import aclosing

    from a2a.types import a2a_pb2 as pb

    from parley_cli import jobs
    from parley_cli.remote import find

    known = jobs.Jobs(home)
    context_id = known.last_in(agent, "last").context if conversation == "last" else conversation
    message = pb.Message(message_id=str(uuid.uuid4()), role=pb.ROLE_USER, context_id=context_id)
    message.parts.add(text=text)
    async with access.http() as http:
        remote = await find(agent, registry, access, http)
        if detach:
            begun = await remote.start(message, say=aside)
            if isinstance(begun, pb.Message):
                typer.echo("".join(part.text for part in begun.parts))
                return True
            known.remember(jobs.new(begun.id, begun.context_id, agent, text))
            typer.echo(begun.id)
            return True
        printer = Printer(as_json)
        async with aclosing(remote.converse(message, seconds=timeout, say=aside)) as answers:
            async for event in answers:
                if printer.take(event) and printer.task_id:
                    known.remember(jobs.new(printer.task_id, printer.context_id, agent, text))
        return printer.close()


def aside(line: str) -> None:
    """Say why the command waits, to whoever looks on."""
    typer.secho(f"parley: {_safe(line)}", err=True, dim=True)


class Printer:
    """Prints a plain A2A stream: artifacts' and messages' text out, status text aside."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._open = ""
        self._shown: set[str] = set()
        self.task_id = self.context_id = ""
        self.state = 0
        self.answered = False

    def take(self, event: "pb.StreamResponse") -> bool:
        """Print an event; whether it was the first to tell of the task."""
        if self._as_json:
            from google.protobuf.json_format import MessageToDict

            from parley_cli.lines import put_json

            put_json(MessageToDict(event))
        kind = event.WhichOneof("payload")
        before = self.task_id
        if kind == "message":
            self.answered = True
            self._text("", event.message.parts)
        elif kind == "task":
            self.task_id, self.context_id = event.task.id, event.task.context_id
            for artifact in event.task.artifacts:
                self._artifact(artifact, append=False)
            self._status(event.task.status)
        elif kind == "status_update":
            self.task_id, self.context_id = event.status_update.task_id, event.status_update.context_id
            self._status(event.status_update.status)
        elif kind == "artifact_update":
            self.task_id, self.context_id = event.artifact_update.task_id, event.artifact_update.context_id
            self._artifact(event.artifact_update.artifact, append=event.artifact_update.append)
        return not before and bool(self.task_id)

    def close(self) -> bool:
        """Finish the output; whether the agent did what it was asked."""
        from a2a.types import a2a_pb2 as pb

        from parley_runtime.store import INTERRUPTED

        self._end_line()
        if self.state in INTERRUPTED:
            typer.echo(f"parley: it waits for you: parley task answer {self.task_id} TEXT", err=True)
        return self.answered or self.state == pb.TASK_STATE_COMPLETED

    def _status(self, status: "pb.TaskStatus") -> None:
        from parley_cli.story import state_name, text_of

        text = text_of(status.message)
        if (status.state != self.state or text) and not self._as_json:
            self._end_line()
            typer.secho(f"[{state_name(status.state)}] {_safe(text)}".rstrip(), err=True, dim=True)
        self.state = status.state

    def _artifact(self, artifact: "pb.Artifact", *, append: bool) -> None:
        if not append and artifact.artifact_id in self._shown and artifact.artifact_id != self._open:
            return  # a snapshot of the task repeats what was streamed
        self._shown.add(artifact.artifact_id)
        self._text(artifact.artifact_id, artifact.parts)

    def _text(self, name: str, parts: "list[pb.Part]") -> None:
        if self._as_json:
            return
        if self._open and self._open != name:
            self._end_line()
        for part in parts:
            kind = part.WhichOneof("content")
            if kind == "text":
                sys.stdout.write(_safe(part.text))
            else:
                self._end_line()
                label = part.filename or name or "part"
                typer.secho(
                    f"[{_safe(label)}: {kind}, {part.media_type or 'no media type'}]", err=True, dim=True
                )
        sys.stdout.flush()
        self._open = name or "message"

    def _end_line(self) -> None:
        if self._open and not self._as_json:
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._open = ""


def _safe(text: str) -> str:
    """Text of others without control characters that a terminal would act on."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")
