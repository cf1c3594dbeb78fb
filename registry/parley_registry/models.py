"""What goes over the wire, as OpenAPI shows it."""

import math
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from parley_registry.card import MAX_NAME, MAX_URL, NAMESPACE, address_fault
from parley_registry.entry import PUBLIC, Change
from parley_registry.record import Freshness, Stored
from parley_registry.search import Result
from parley_registry.shown import shown_card
from parley_registry.versions import MAX_VERSION

InstanceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@+~-]{1,128}$")]
Namespace = Annotated[str, StringConstraints(pattern=NAMESPACE)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
VersionText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_VERSION)]


class InstanceModel(BaseModel):
    """One running copy of an agent's version."""

    model_config = ConfigDict(extra="forbid")
    id: InstanceId = Field(examples=["coder-1"])
    url: str = Field(max_length=MAX_URL, examples=["http://127.0.0.1:9999"])

    @field_validator("url")
    @classmethod
    def _absolute(cls, url: str) -> str:
        fault = address_fault(url, "GRPC")
        if fault:
            raise ValueError("must be an absolute http(s) URL or host:port")
        return url


class PublishRequest(BaseModel):
    """A card to publish, and the running instance that publishes it."""

    model_config = ConfigDict(extra="forbid")
    namespace: Namespace = PUBLIC
    card: dict[str, Any] = Field(description="An AgentCard of A2A 1.0 in ProtoJSON, at most 256 KiB.")
    instance: InstanceModel | None = None


class RegisterRequest(BaseModel):
    """An external agent: where its card is."""

    model_config = ConfigDict(extra="forbid")
    namespace: Namespace = PUBLIC
    url: str = Field(max_length=MAX_URL, examples=["https://agent.example.com/.well-known/agent-card.json"])
    name: str = Field(
        default="",
        max_length=MAX_NAME,
        description="What the agent has to be called; a name of another owner is refused then, to admins too.",
    )


class LatestRequest(BaseModel):
    """The version to make the latest."""

    model_config = ConfigDict(extra="forbid")
    version: VersionText


class SignatureModel(BaseModel):
    """What the card's signatures are worth to this registry."""

    state: Literal["verified", "untrusted", "invalid", "none"]
    keyId: str
    signer: str = Field(description="Whom the trusted key stands for, as the registry was told.")


class EntryModel(BaseModel):
    """One version of an agent."""

    namespace: str
    name: str
    version: str
    latest: bool
    health: Literal["up", "down", "unknown"]
    instances: list[InstanceModel]
    external: bool
    source: str = Field(description='Where the card of an external agent is fetched from, else "".')
    card: dict[str, Any]
    updated: float = Field(
        description="When card, latest or health last changed, in seconds since the epoch."
    )
    signature: SignatureModel
    owner: str = Field(description='Whose the agent is, or "".')


class Dated(BaseModel):
    """How fresh an answer is, for a registry that serves what another, Nacos, holds."""

    stale: bool = Field(description="Whether that could not be asked for too long.")
    asOf: float | None = Field(
        description="When this was last known to be what is held there, in seconds since the epoch; null: never."
    )


class DatedEntryModel(EntryModel, Dated):
    """One version of an agent, and how fresh that is."""


class VersionsModel(Dated):
    versions: list[EntryModel] = Field(description="Highest first, by SemVer 2.0.0.")


class HitModel(BaseModel):
    entry: EntryModel
    score: float = Field(
        description="How well it fits the text; higher is better, comparable within one search."
    )
    reasons: list[str]


class PageModel(Dated):
    """One page of a search."""

    entries: list[HitModel]
    facets: dict[str, dict[str, int]] = Field(
        description="For each facet its 20 most frequent values among all matches, with their counts."
    )
    next: str = Field(description='Cursor of the next page, or "".')
    total: int = Field(description="Matches in all.")
    notes: list[str] = Field([], description="What is to be said about the answer.")


class FaultModel(BaseModel):
    field: str = Field(examples=["skills[0].tags"])
    message: str


class Problem(BaseModel):
    """An error by RFC 9457."""

    type: str = Field(examples=["urn:parley:registry:card-rejected"])
    title: str
    status: int
    detail: str
    faults: list[FaultModel] = []


class Health(BaseModel):
    status: Literal["ok", "starting"]
    detail: str = ""


def entry_json(entry: Stored) -> dict[str, Any]:
    """An entry as JSON."""
    return {
        "namespace": entry.namespace,
        "name": entry.name,
        "version": entry.version,
        "latest": entry.latest,
        "health": entry.health,
        "instances": [{"id": one.id, "url": one.url} for one in entry.instances],
        "external": bool(entry.source),
        "source": entry.source,
        "card": shown_card(entry),
        "updated": entry.updated,
        "signature": {
            "state": entry.signature.state,
            "keyId": entry.signature.key_id,
            "signer": entry.signature.signer,
        },
        "owner": entry.owner,
    }


def dated_json(freshness: Freshness) -> dict[str, Any]:
    """How fresh an answer is, as members of it."""
    known = math.isfinite(freshness.age)
    return {"stale": freshness.stale, "asOf": time.time() - freshness.age if known else None}


def page_json(result: Result) -> dict[str, Any]:
    """A page as JSON."""
    return {
        "entries": [
            {"entry": entry_json(entry), "score": score, "reasons": reasons}
            for entry, score, reasons in result.hits
        ],
        "facets": result.facets,
        "next": result.next,
        "total": result.total,
        "notes": result.notes,
    }


def change_json(change: Change) -> dict[str, Any]:
    """A change as JSON."""
    return {
        "seq": change.seq,
        "kind": change.kind,
        "namespace": change.namespace,
        "name": change.name,
        "version": change.version,
    }
