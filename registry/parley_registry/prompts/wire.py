"""Prompts as JSON, as the service answers and as records keep them."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from parley_registry.prompts.prompt import AgentVersion, Prompt, PromptVersion, Variable, VersionNote


def with_digest(version: PromptVersion) -> PromptVersion:
    """The same with its digest; who pushed it and when is no part of that."""
    told = version_json(version)
    parts = {key: told[key] for key in ("template", "variables", "description", "hints")}
    digest = hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return PromptVersion(
        **{name: getattr(version, name) for name in PromptVersion.__slots__ if name != "digest"},
        digest=digest,
    )


def version_json(version: PromptVersion) -> dict[str, Any]:
    """A version as JSON, as the service answers and as backends keep it."""
    return {
        "namespace": version.namespace,
        "name": version.name,
        "version": version.version,
        "template": version.template,
        "variables": [
            {"name": one.name, "description": one.description, "required": one.required}
            | ({} if one.required else {"default": one.default})
            for one in version.variables
        ],
        "description": version.description,
        "hints": dict(version.hints),
        "author": version.author,
        "created": version.created,
        "digest": version.digest,
    }


def read_version(told: Mapping[str, Any]) -> PromptVersion:
    """The version that such JSON tells. Raises KeyError or TypeError for any other."""
    variables = tuple(
        Variable(one["name"], one.get("description", ""), one.get("default", ""), one["required"])
        for one in told["variables"]
    )
    plain = {name: told[name] for name in PromptVersion.__slots__ if name != "variables"}
    return PromptVersion(variables=variables, **plain)


def prompt_json(prompt: Prompt) -> dict[str, Any]:
    """A prompt as JSON."""
    return {
        "namespace": prompt.namespace,
        "name": prompt.name,
        "description": prompt.description,
        "latest": prompt.latest,
        "versions": [
            {name: getattr(note, name) for name in VersionNote.__slots__} for note in prompt.versions
        ],
        "labels": dict(prompt.labels),
        "bindings": [
            {"agent": key.agent, "agentVersion": key.version, "version": version}
            for key, version in prompt.bindings.items()
        ],
        "revision": prompt.revision,
        "updated": prompt.updated,
    }


def read_prompt(told: Mapping[str, Any]) -> Prompt:
    """The prompt that such JSON tells. Raises KeyError or TypeError for any other."""
    return Prompt(
        told["namespace"],
        told["name"],
        tuple(VersionNote(**one) for one in told["versions"]),
        dict(told["labels"]),
        {AgentVersion(one["agent"], one["agentVersion"]): one["version"] for one in told["bindings"]},
        told["revision"],
        told["updated"],
    )
