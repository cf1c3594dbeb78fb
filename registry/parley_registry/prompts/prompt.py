"""What a prompt is: immutable versions, labels that move between them, and a say for single agent versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from parley_registry.errors import UnknownPrompt
from parley_registry.prompts.template import filled
from parley_registry.versions import is_release

LATEST = "latest"
"""The label that needs no setting: the highest release, or the highest pre-release while there is no release."""
PRODUCTION = "production"
"""The label that is meant where none is named."""


class PromptKey(NamedTuple):
    """What identifies a prompt in a registry: names are unique within their namespace."""

    namespace: str
    name: str


class AgentVersion(NamedTuple):
    """An agent's version, as one that has a say in which version of a prompt it gets."""

    agent: str
    version: str

    def __str__(self) -> str:
        return f"{self.agent}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> "AgentVersion":
        """From `agent@version`; the version is "" where there is none."""
        agent, _, version = text.rpartition("@")
        return cls(agent, version) if agent else cls(text, "")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a template. Without a value it is `default`, or an error if it is required."""

    name: str
    description: str = ""
    default: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """One version of a prompt; it never changes. `hints` are free metadata (a model, a temperature), `created` is in
    seconds since the epoch, `digest` is over all that makes up the version (template, variables, description, hints)."""

    namespace: str
    name: str
    version: str
    template: str
    variables: tuple[Variable, ...] = ()
    description: str = ""
    hints: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""
    created: float = 0.0
    digest: str = ""

    def render(self, values: Mapping[str, object] | None = None, /, **more: object) -> str:
        """The template with each `{{name}}` exchanged for its value: text as it is, numbers as Python writes them.

        Values that the template does not use are ignored, so that a new version may do without one. Raises
        NotRendered naming every required variable that has none (or None), every value that is neither text nor a
        number, and a result that is too long.
        """
        return filled(
            f"the prompt {self.name} {self.version}",
            self.template,
            {one.name: one.default for one in self.variables if not one.required},
            {**(values or {}), **more},
        )


@dataclass(frozen=True, slots=True)
class VersionNote:
    """What a prompt says of one of its versions, without the text."""

    version: str
    digest: str
    description: str = ""
    author: str = ""
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt: its versions (highest first), where its labels point, and which agent versions have a version of their
    own. `revision` counts its changes; `updated` is when the last one was, in seconds since the epoch."""

    namespace: str
    name: str
    versions: tuple[VersionNote, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    bindings: Mapping[AgentVersion, str] = field(default_factory=dict)
    revision: int = 0
    updated: float = 0.0

    @property
    def key(self) -> PromptKey:
        return PromptKey(self.namespace, self.name)

    @property
    def latest(self) -> str:
        """The version that the label `latest` means, "" while there is none."""
        versions = [note.version for note in self.versions]
        return next((one for one in versions if is_release(one)), versions[0] if versions else "")

    @property
    def description(self) -> str:
        """What its latest version says of itself."""
        latest = self.latest
        return next((one.description for one in self.versions if one.version == latest), "")

    def note(self, version: str) -> VersionNote:
        """What it says of that version. Raises UnknownPrompt."""
        for one in self.versions:
            if one.version == version:
                return one
        there = ", ".join(one.version for one in self.versions[:10])
        raise UnknownPrompt(f"the prompt {self.name} has no version {version!r}; it has {there}")

    def chosen(self, label: str = PRODUCTION, agent: AgentVersion | None = None) -> str:
        """The version that is meant by a label; what an agent version is bound to goes before it.

        Raises UnknownPrompt when there is no such label.
        """
        if agent is not None and agent in self.bindings:
            return self.bindings[agent]
        if label == LATEST:
            return self.latest
        if label in self.labels:
            return self.labels[label]
        there = ", ".join(sorted({*self.labels, LATEST}))
        raise UnknownPrompt(
            f"the prompt {self.name} has no label {label!r} (it has {there}); set it, or ask for another"
        )


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a push: the version as it is kept, and whether it is new."""

    version: PromptVersion
    created: bool


@dataclass(frozen=True, slots=True)
class PromptPage:
    """One page of a list, by namespace and name. `next` is the cursor of the page that follows, or ""."""

    prompts: tuple[Prompt, ...]
    next: str
