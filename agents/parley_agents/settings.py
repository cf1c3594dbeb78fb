"""What the team's agents can be told by `PARLEY_…` in the environment."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from parley_core.errors import ConfigurationError


class AgentSettings(BaseSettings):
    """Settings of a team agent. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_", extra="ignore", frozen=True)

    engine: str = "rules"
    """What does the work behind the agents; "rules" is the one there is."""
    home: Path = Path(".parley")
    """Where caches live: `envs/` holds prepared test environments."""

    blobs: str = ""
    """Where large parts are kept, a folder or s3://…; empty: everything travels inside messages."""
    blob_url: str = ""
    """Where signed URLs of that place are answered, for the other agents."""
    blob_key_file: Path | None = None
    """File with the key that signs blob URLs; empty: `blob.key` beside a local blob folder."""
    blob_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Networks that blob URLs of others may point into although they are not public."""
    inline_limit: int = Field(default=256 * 1024, ge=0)
    """The largest part that travels inside a message when there is a blob folder."""
    max_bundle: int = Field(default=256 * 1024 * 1024, ge=1024)
    """The largest repository bundle an agent takes."""

    sandbox: Literal["auto", "bubblewrap", "namespaces", "none"] = "auto"
    """How untrusted code is confined; "auto" takes the strongest there is and refuses when there is none."""
    test_timeout: float = Field(default=600.0, gt=0)
    """One run of a repository's test suite."""
    test_memory: int = Field(default=2 * 1024**3, ge=64 * 1024**2)
    """Memory that a test run may use."""
    test_processes: int = Field(default=256, ge=8)
    """Processes that a test run may have at once."""
    test_reruns: int = Field(default=2, ge=0)
    """How often tests that went differently on base and change are run again before one is believed."""
    install_timeout: float = Field(default=300.0, gt=0)
    """Installing a repository's test dependencies."""

    @field_validator("blob_allow", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value


def load_settings() -> AgentSettings:
    """The settings of this process. Raises ConfigurationError that names the variable at fault."""
    try:
        return AgentSettings()
    except ValidationError as error:
        faults = "; ".join(
            f"PARLEY_{'_'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors()
        )
        raise ConfigurationError(faults) from error
