"""What a registry service can be told, as arguments or in the environment."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class RegistrySettings(BaseSettings):
    """Settings of one service process; each is also `PARLEY_REGISTRY_…`, and `PARLEY_AUTH_…` as for hosts."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_REGISTRY_", frozen=True, populate_by_name=True)

    listen: str = "127.0.0.1:8420"
    """host:port. Elsewhere than on loopback, callers must prove who they are (`auth_…`)."""
    store: str = "sqlite:///.parley/data/registry.db"
    """Where it is kept, as a database URL."""
    nacos: SecretStr = SecretStr("")
    """Nacos whose agents are served, as nacos://user:password@host:8848/namespace,namespace; `store` then has the copy."""
    stale_after: float = Field(default=15.0, ge=1, le=86400)
    """Seconds after which what is served of Nacos counts as stale when it is not known to be the same any more."""
    public_url: str = ""
    """URL under which others reach this registry, and find it through Nacos; by default where it listens."""
    ttl: float = Field(default=6.0, gt=0.2, le=3600)
    """Seconds without a heartbeat after which an instance counts as gone."""
    look_every: float = Field(default=30.0, ge=0.2, le=86400)
    """Seconds between two looks at the card of an external agent."""
    allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Blocks of private addresses from which cards may be fetched; on loopback, loopback is allowed anyway."""
    max_watchers: int = Field(default=2_000, ge=1)
    """Watches (event streams) at once."""
    embeddings: str = ""
    """What search by meaning takes its vectors from: `local:` and the directory of a static embedding model, or the URL of
    an OpenAI-compatible API (http://host/v1). Empty: search by words alone."""
    embeddings_model: str = ""
    """The model to ask the API for."""
    embeddings_key: SecretStr = SecretStr("")
    """The API's key; in the environment only."""
    embeddings_cache: str = ".parley/data/embeddings.db"
    """File in which vectors are kept, so that a restart makes none again."""
    embeddings_floor: float = Field(default=0.25, ge=0, le=1)
    """Cosine similarity below which a card is not like a query; what is fitting depends on the model."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias=AliasChoices("allowed_hosts", "PARLEY_ALLOWED_HOSTS")
    )
    """Host names besides localhost under which a registry on loopback may be called."""
    auth_issuer: str = Field(default="", validation_alias=AliasChoices("auth_issuer", "PARLEY_AUTH_ISSUER"))
    """Issuer (`iss`) that bearer tokens must have."""
    auth_audience: str = Field(
        default="", validation_alias=AliasChoices("auth_audience", "PARLEY_AUTH_AUDIENCE")
    )
    """Audience (`aud`) that bearer tokens must have."""
    auth_jwks: str = Field(default="", validation_alias=AliasChoices("auth_jwks", "PARLEY_AUTH_JWKS"))
    """URL or file of the key set that verifies bearer tokens; empty: loopback only, no tokens."""

    auth_rights_claim: str = Field(
        default="parley_rights",
        validation_alias=AliasChoices("auth_rights_claim", "PARLEY_AUTH_RIGHTS_CLAIM"),
    )
    """Claim of a token that lists its rights to names, as team-a/* or admin:team-a/*."""
    grants: Annotated[tuple[str, ...], NoDecode] = ("*=*/*",)
    """Rights of tokens without that claim, each as SUBJECT=RIGHT RIGHT; the default: whoever has a token may take names
    that nobody has."""
    reserved_names: Annotated[tuple[str, ...], NoDecode] = ("parley", "parley-*")
    """Names that only an admin may take, and those that can be taken for them; with * for any characters."""
    audit_keep: float = Field(default=365.0, gt=0)
    """Days for which the audit trail is kept."""
    trusted_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """Files or URLs of the public keys (JSON Web Key Sets) whose signatures of cards count, each as SIGNER=PLACE."""
    require_signature: bool = False
    """Take only cards that are signed by one of them."""

    @field_validator("allow", "allowed_hosts", "trusted_keys", "grants", "reserved_names", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )
