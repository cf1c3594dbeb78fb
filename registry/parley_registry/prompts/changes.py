"""What changes of a prompt are allowed, and what the prompt is after them: pure functions, the same on every backend."""

from collections.abc import Sequence
from dataclasses import replace

from parley_registry.errors import Fault, PromptInUse, PromptRejected, VersionConflict
from parley_registry.prompts.check import MAX_BINDINGS, MAX_LABELS, MAX_VERSIONS
from parley_registry.prompts.prompt import AgentVersion, Prompt, PromptVersion, VersionNote
from parley_registry.versions import highest_first


def pushed(prompt: Prompt, new: PromptVersion, labels: Sequence[str]) -> Prompt:
    """With another version, that `labels` point to. The same version again is no change of itself.

    Raises VersionConflict when the version is there with other content, PromptRejected when there are too many.
    """
    known = {note.version: note for note in prompt.versions}
    if new.version in known:
        if known[new.version].digest != new.digest:
            raise VersionConflict(
                f"the prompt {new.name} {new.version} is there with another text, other variables or hints; a version "
                "does not change: raise the version and push that"
            )
        versions = prompt.versions
    else:
        if len(known) >= MAX_VERSIONS:
            raise _too_many("version", f"{MAX_VERSIONS} versions are kept; delete old ones first")
        known[new.version] = VersionNote(new.version, new.digest, new.description, new.author, new.created)
        versions = tuple(known[version] for version in highest_first(known))
    return _labelled(replace(prompt, versions=versions), dict.fromkeys(labels, new.version))


def labelled(prompt: Prompt, label: str, version: str) -> Prompt:
    """With `label` pointing to a version. Raises UnknownPrompt when that is not there, PromptRejected."""
    prompt.note(version)
    return _labelled(prompt, {label: version})


def unlabelled(prompt: Prompt, label: str) -> Prompt:
    """Without a label."""
    return replace(prompt, labels={name: value for name, value in prompt.labels.items() if name != label})


def bound(prompt: Prompt, agent: AgentVersion, version: str) -> Prompt:
    """With a version for that agent version alone. Raises UnknownPrompt when it is not there, PromptRejected."""
    prompt.note(version)
    bindings = {**prompt.bindings, agent: version}
    if len(bindings) > MAX_BINDINGS:
        raise _too_many("agent", f"{MAX_BINDINGS} agent versions may be bound; take away old ones first")
    return replace(prompt, bindings=bindings)


def unbound(prompt: Prompt, agent: AgentVersion) -> Prompt:
    """Without the say of an agent version."""
    return replace(prompt, bindings={key: value for key, value in prompt.bindings.items() if key != agent})


def without(prompt: Prompt, version: str) -> Prompt:
    """Without a version. Raises UnknownPrompt when it is not there, PromptInUse when a label or a binding names it."""
    prompt.note(version)
    users = [f"the label {name}" for name, named in sorted(prompt.labels.items()) if named == version]
    users += [str(agent) for agent, named in sorted(prompt.bindings.items()) if named == version]
    if users:
        raise PromptInUse(
            f"{version} of the prompt {prompt.name} is in use by {', '.join(users)}; move or remove those first, or "
            "delete the prompt with all its versions"
        )
    return replace(prompt, versions=tuple(one for one in prompt.versions if one.version != version))


def _labelled(prompt: Prompt, labels: dict[str, str]) -> Prompt:
    together = {**prompt.labels, **labels}
    if len(together) > MAX_LABELS:
        raise _too_many("label", f"{MAX_LABELS} labels may be set; remove some first")
    return replace(prompt, labels=together)


def _too_many(field: str, message: str) -> PromptRejected:
    return PromptRejected("the prompt is full", (Fault(field, message),))
