"""Prompts of the registry, for executors: `await prompt("review")`, and which of them a task was made with."""

from contextvars import ContextVar
from typing import TypeVar

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict

from parley_core.errors import ConfigurationError
from parley_registry.client import HasPrompts, Prompts, PromptVersion, default_prompt

E = TypeVar("E")

PROMPTS = "parley.dev/prompts"
"""Metadata key under which a task (or a plain answer) says which versions of prompts it was made with."""


class HostPrompts:
    """The prompts of a host's registry for its agent and version; none before `open`, or without a registry."""

    def __init__(self, agent: str, version: str) -> None:
        self._agent = agent
        self._version = version
        self.reader: Prompts | None = None
        """To be `run` beside the host."""

    def open(self, registry: HasPrompts) -> None:
        """Take prompts from `registry` from now on."""
        self.reader = Prompts(registry, agent=self._agent, agent_version=self._version)


class Using:
    """The prompts that one execution uses: their versions by name."""

    def __init__(self, prompts: HostPrompts) -> None:
        self._prompts = prompts
        self._used: dict[str, str] = {}
        self._noted: dict[str, str] = {}

    async def get(self, name: str, label: str, default: str | None) -> PromptVersion:
        """See `prompt`."""
        reader = self._prompts.reader
        found = (
            _without_registry(name, default)
            if reader is None
            else await reader.get(name, label=label, default=default)
        )
        self._used[name] = found.version or "default"
        return found

    def noted(self, event: E, task: pb.Task | None) -> E:
        """The event, saying which prompts were used, if it can and something is new; else itself."""
        if self._used == self._noted or not isinstance(
            event, pb.TaskStatusUpdateEvent | pb.Task | pb.Message
        ):
            return event
        before = MessageToDict(task.metadata).get(PROMPTS) if task is not None else None
        noted = type(event)()
        noted.CopyFrom(event)
        noted.metadata.update({PROMPTS: {**(before if isinstance(before, dict) else {}), **self._used}})
        self._noted = dict(self._used)
        return noted


current_prompts: ContextVar[Using | None] = ContextVar("parley_prompts", default=None)


async def prompt(name: str, *, label: str = "production", default: str | None = None) -> PromptVersion:
    """The version of a prompt that this agent's version is to use now; `.render(language="python")` makes text of it.

    That is the one that the agent's version is bound to, else the one that `label` points to, as the registry of the host
    has it: from memory, at most a second old; the last known while the registry is away. `default` is a template for the time in which
    the registry was never reached or has no such prompt. Which version it was is noted in the task's metadata, under
    `parley.dev/prompts`.

    Outside a Parley host, and in one without a registry, it is `default`. Raises UnknownPrompt, RegistryUnavailable
    (after two seconds), and ConfigurationError where there is neither a registry nor a default.
    """
    using = current_prompts.get()
    if using is None:
        return _without_registry(name, default)
    return await using.get(name, label, default)


def _without_registry(name: str, default: str | None) -> PromptVersion:
    if default is None:
        raise ConfigurationError(
            f"the prompt {name!r} has no default, and there is no registry to take it from; host the agent with "
            "--registry, or give prompt() a default"
        )
    return default_prompt(name, default)
