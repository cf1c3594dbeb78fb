"""An Agent that runs elsewhere: it has no pods, only its place in the registry. Pure."""

from collections.abc import Mapping
from typing import Any

import httpx

from parley_operator.decision import Plan
from parley_operator.manifests.meta import FINALIZER, finalizer
from parley_operator.observed import Observed
from parley_operator.resources.agent import AgentSpec, AgentStatus
from parley_operator.telling import Found, conditions
from parley_registry.client import card_url

_AGAIN = 30.0


def ours(observed: Observed, spec: AgentSpec, before: AgentStatus) -> bool:
    """Whether what the registry has under the Agent's name was registered by the Agent's URL, now or before it was changed."""
    found, url = observed.remote, spec.remote.url if spec.remote else None
    if found is None or not found.source or not url:
        return False
    return found.source in (_card_url(url), before.source)


def taken(observed: Observed, spec: AgentSpec, before: AgentStatus) -> tuple[str, str] | None:
    """Why the Agent cannot have its name in the registry; None when it can."""
    found, remote = observed.remote, spec.remote
    if found is None or remote is None or not remote.url or ours(observed, spec, before):
        return None
    by = f"is registered from {found.source}" if found.source else "is published by its own hosts"
    name = observed.agent["metadata"]["name"]
    return (
        "NameTaken",
        f"an agent called {name} {by}; give this one another name, remove that one from the registry, or say remote.agent "
        "if that is the one that is meant",
    )


def _card_url(url: str) -> str:
    try:
        return card_url(url)
    except httpx.InvalidURL:
        return url  # the registry says what is wrong with it


def plan(observed: Observed, spec: AgentSpec, before: AgentStatus) -> Plan:
    """What is to be done now."""
    found, remote = observed.remote, spec.remote
    url = remote.url if remote and remote.url else ""
    register = url if url and observed.table is not None and found is None else ""
    moved = bool(found and url and found.source != _card_url(url))
    apply: tuple[Mapping[str, Any], ...] = ()
    if FINALIZER not in (observed.agent["metadata"].get("finalizers") or ()):
        apply = (finalizer(observed.agent),)
    accepted = Found("Accepted", True, "Accepted", "the spec can be carried out")
    degraded = Found("Degraded", False, "AsExpected", "")
    if observed.table is None:
        said = f"the registry cannot be reached: {observed.registry_error}"
        known = next((one for one in before.conditions if one.type == "Ready"), None)
        ready = Found("Ready", known.status == "True" if known else None, "RegistryUnreachable", said)
        degraded = Found("Degraded", True, "RegistryUnreachable", said)
    elif found is None:
        name = remote.agent if remote and remote.agent else ""
        said = (
            f"nobody has published {name} in the registry"
            if name
            else f"the card at {url} is not registered yet"
        )
        ready = Found("Ready", False, "NotPublished", said)
    elif found.health == "down":
        ready = Found("Ready", False, "Down", f"the registry cannot see that {found.version} runs")
        degraded = Found("Degraded", True, "Down", ready.message)
    else:
        ready = Found("Ready", True, "Published", f"{found.version} is in the registry and {found.health}")
    generation = int(observed.agent["metadata"].get("generation", 0))
    rolled = Found("RolledOut", ready.holds, ready.reason, ready.message)
    progressing = Found("Progressing", False, "NothingToDo", "")
    if moved:
        progressing = Found(
            "Progressing", True, "Registering", f"the card at {url} takes the place of the one before"
        )
    elif register:
        progressing = Found("Progressing", True, "Registering", f"the card at {url} is being registered")
    status = AgentStatus(
        observed_generation=generation,
        phase="Degraded" if degraded.holds else "Ready" if ready.holds else "Pending",
        current_version=found.version if found else before.current_version,
        url=found.url if found else before.url,
        source=found.source if found and url else "" if observed.table is not None else before.source,
        conditions=conditions(
            [accepted, ready, progressing, degraded, rolled], before.conditions, generation, observed.now
        ),
    ).written()
    return Plan(
        apply=apply,
        register=register,
        withdraw=moved,
        status=status if status != before.written() else None,
        again=1.0 if moved else _AGAIN,
    )
