"""What a host can be told, by argument, by `PARLEY_…` in the environment, or left at its default."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from semver import Version

from parley_core.errors import ConfigurationError
from parley_core.telemetry import LogFormat
from parley_core.urlguard import allowed
from parley_runtime.store import HIGHEST, LOWEST

Role = Literal["front", "worker"]
OnLost = Literal["retry", "fail"]


def parse_listen(value: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`. Raises ConfigurationError with the expected form."""
    host, separator, port = value.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535 or not host:
        raise ConfigurationError(f"{value!r} is not a listen address; use host:port, as in 127.0.0.1:9999")
    return host.strip("[]"), int(port)


def _is_address(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname) and not parts.query and not parts.fragment


class HostSettings(BaseSettings):
    """Settings of one agent host. Durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="PARLEY_",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # an address may hold a password
    )

    listen: str = "127.0.0.1:9999"
    """`host:port` to serve on. Elsewhere than on loopback, callers must prove who they are (`auth_…`)."""
    grpc: str = ""
    """Address of the gRPC binding; empty: none."""
    public_url: str = ""
    """How others reach this host, written into the published card; empty: the listen address."""
    store: str = "sqlite:///parley.db"
    """Where tasks are kept: sqlite:///file.db or postgresql://user:password@host/database?schema=name."""
    queue: str = ""
    """Where workers hear of work: empty for the store's own means, or rocketmq://proxy:8081."""
    bus: str = ""
    """How events reach streams on other replicas: empty for the store's own means, or rocketmq://proxy:8081."""
    inbox: str = ""
    """Where messages come in from programs that speak no HTTP: rocketmq://proxy:8081; empty: nowhere."""
    inbox_owner: str = ""
    """Whose tasks the inbox's messages become; needed with an inbox, for whoever may write to its topic submits."""
    version: str = ""
    """Version of the agent; empty: the card's."""
    agent_name: str = ""
    """Name of the agent; empty: the card's."""
    scope: str = ""
    """What tells this agent's tables and topics from those of another of its name that uses the same database or broker,
    such as the Kubernetes namespace; empty: its name is enough. All hosts of the agent have the same."""
    agent_id: str = ""
    """What all processes of this agent have in common, should another of its name and version come to the same store;
    empty: the executor's class."""
    role: Annotated[tuple[Role, ...], NoDecode] = ("front", "worker")
    """What this process does: accept and answer calls (`front`), execute (`worker`), or both."""
    namespace: str = ""
    """Namespace of the registry to publish the agent in; empty: the one that the registry's address means."""
    registry: str = Field(default="", repr=False)
    """Registry to publish the agent in: a service (http://host:8420?namespace=team) or Nacos itself
    (nacos://user:password@host:8848/team); empty: none."""
    registry_token: str = Field(default="", repr=False)
    """Bearer token for the registry service, or for the catalogue of a Nacos."""
    registry_token_file: Path | None = None
    """File with that token, read anew for each call: for tokens that are renewed, as Kubernetes' projected ones."""

    forward: str = ""
    """A2A server that does the work, instead of an executor: http://127.0.0.1:9000; empty: none."""
    forward_wait: float = Field(default=60.0, ge=0)
    """How long that server is waited for at the start."""
    on_lost: OnLost = "retry"
    """What becomes of a message whose task that server lost: it is sent again (`retry`), or the task fails (`fail`)."""

    concurrency: int = Field(default=64, ge=1)
    """Executions at once in this process."""
    lease: float = Field(default=3.0, ge=0.5)
    """How long a worker that says nothing keeps its tasks."""
    max_attempts: int = Field(default=5, ge=1)
    """Executions of one message, crashes included, before the task fails with the reason."""
    drain: float = Field(default=10.0, ge=0)
    """How long running work may go on after SIGTERM before it is handed over."""
    drain_delay: float = Field(default=0.0, ge=0)
    """How long a front goes on taking calls after SIGTERM, while it says that it is not ready: the time that load
    balancers need to learn it. Comes before `drain`."""
    cancel_wait: float = Field(default=10.0, gt=0)
    """How long CancelTask waits for the executor's answer before it returns the task as it is."""
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Bytes of the largest request that is read."""

    blobs: str = ""
    """Where large parts are kept: a folder, file:///folder or s3://bucket/prefix?endpoint=…&region=…; empty: a folder
    beside a SQLite store, and with any other store nowhere: then everything travels inside messages."""
    blob_url: str = ""
    """Where this host's blobs are read by signed URL; empty: the public URL."""
    blob_key_file: Path | None = None
    """File with the key (hex) that signs blob URLs, the same for all hosts of a place; empty: `blob.key` beside a local
    blob folder."""
    inline_limit: int = Field(default=256 * 1024, ge=1024)
    """The largest part that travels inside a message or an event when there is a place for blobs."""
    max_blob_bytes: int = Field(default=1024**3, ge=1024)
    """The largest blob that is taken."""
    blob_margin: float = Field(default=7 * 24 * 3600.0, ge=3600)
    """A blob goes when it was not used for so long beyond the time for which ended tasks are kept."""

    trusted: Annotated[tuple[str, ...], NoDecode] = ("local",)
    """Callers (owners) that may choose priorities, and whose tenants have shares of their own; `local` is whoever reaches
    the loopback address."""
    classes: Annotated[dict[str, int], NoDecode] = Field(default_factory=dict)
    """Priorities (0–7) of callers that do not choose, as `caller=priority,…`; 3 for who is not named."""
    limits_file: Path | None = None
    """File with the agent's limits and its callers' priorities as JSON, read again when it changes; empty: they are as
    `parley limits` and `classes` say."""
    retain_events: float = Field(default=24 * 3600.0, ge=0)
    """How long after a task's end its events, steps and requests are kept; the Task stays."""
    retain_tasks: float = Field(default=30 * 24 * 3600.0, ge=0)
    """How long after its end a task is kept at all, and its messageIds are known."""

    signing_keys: Path | None = None
    """File of the keys that sign the agent's cards (`parley keys create`), read again when it changes; empty: cards are
    not signed."""
    auth_issuer: str = ""
    """Issuer (`iss`) that bearer tokens must have."""
    auth_audience: str = ""
    """Audience (`aud`) that bearer tokens must have: one of several, with commas."""
    auth_jwks: str = ""
    """URL or file of the JSON Web Key Set that verifies bearer tokens; empty: loopback only, no tokens."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Host header values accepted besides the listen address (loopback profile)."""

    push_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """CIDR networks that webhooks may be in although they are not public, and names of hosts that they may be at wherever these are."""
    push_give_up: float = Field(default=24 * 3600.0, gt=0)
    """How old a push notification may get before a failed attempt is its last."""

    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: LogFormat = "auto"
    """How log lines are written: as `text`, as `json`, or (`auto`) as text on a terminal and else as JSON."""

    @field_validator("role", "allowed_hosts", "push_allow", "trusted", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("classes", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().rpartition("=") for part in value.split(",") if part.strip()]
        if any(not caller or not priority.isdigit() for caller, _, priority in pairs):
            raise ValueError(f"{value!r} are no classes; write them like caller=5,other=1")
        return {caller: int(priority) for caller, _, priority in pairs}

    @field_validator("classes")
    @classmethod
    def _priorities(cls, value: dict[str, int]) -> dict[str, int]:
        if any(not LOWEST <= priority <= HIGHEST for priority in value.values()):
            raise ValueError(f"a class is a priority from {LOWEST} to {HIGHEST}")
        return value

    def known_as(self, name: str) -> str:
        """What the agent of that name is called in its database and broker."""
        return f"{self.scope}/{name}" if self.scope else name

    @field_validator("version")
    @classmethod
    def _semantic(cls, value: str) -> str:
        if value and not Version.is_valid(value):
            raise ValueError(f"{value!r} is not a semantic version; write it like 1.2.3 or 1.2.3-rc.1")
        return value

    @field_validator("public_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        if value and not _is_address(value, ("http", "https")):
            raise ValueError(f"{value!r} is not a base URL; write it like https://agents.example.com/coder")
        return value

    @field_validator("registry")
    @classmethod
    def _registry_url(cls, value: str, others: ValidationInfo) -> str:
        if value:
            from parley_registry.client import in_namespace  # with more than settings alone would need

            try:
                return in_namespace(value, others.data.get("namespace", ""))
            except ConfigurationError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("role")
    @classmethod
    def _some_role(cls, value: tuple[Role, ...]) -> tuple[Role, ...]:
        if not value:
            raise ValueError("name front, worker or both")
        return value

    @field_validator("push_allow")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        allowed(value)
        return value
