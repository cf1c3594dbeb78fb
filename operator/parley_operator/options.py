"""What the operator can be told, by argument, by `PARLEY_OPERATOR_…` in the environment, or left at its default."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from parley_core.errors import ConfigurationError
from parley_operator.observed import Settings

_Names = Annotated[tuple[str, ...], NoDecode]


class Options(BaseSettings):
    """Runs Parley's agents on Kubernetes: makes what Agents and AgentTeams say, and rolls new versions of them out. Durations are
    seconds; lists are written with commas."""

    model_config = SettingsConfigDict(
        env_prefix="PARLEY_OPERATOR_",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # an address may hold a password
        cli_prog_name="parley-operator",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    namespaces: _Names = ()
    """Namespaces whose Agents are looked after; empty: all of the cluster."""
    namespace: str = ""
    """Namespace of the operator itself, for its Lease; empty: that of the pod or the kubeconfig."""
    kubeconfig: str = ""
    """File that says which cluster; empty: as kubectl finds it, or the pod's own."""
    context: str = ""
    """Context of the kubeconfig; empty: the current one."""
    identity: str = ""
    """What this process is called in the Lease."""
    listen: str = "127.0.0.1:8080"
    """`host:port` of /healthz, /readyz and /metrics."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    registry: str = Field(default="", repr=False)
    """Registry that the agents publish in: a service (http://host:8420) or Nacos itself (nacos://user:password@host:8848)."""
    registry_namespace: str = ""
    """Namespace in the registry for all agents; empty: for each that of its Kubernetes namespace."""
    token_file: Path | None = None
    """File with the token that is shown to the registry, read anew for each call."""
    agent_token_file: Path | None = None
    """File with the token that is shown to agents: one that the registry does not take, since an agent could use it there."""
    token_keys: str = ""
    """Name of a ConfigMap, in the operator's namespace, to be written with the keys that verify the tokens of service accounts; empty: none."""
    host_address: str = "http://{ip}:{port}"
    """Where the Service of an agent is reached; `{ip}`, `{name}`, `{namespace}` and `{port}` are filled in."""

    image: str = "parley"
    """Image of Parley, for agents that bring none of their own."""
    pull_policy: str = ""
    """imagePullPolicy of all containers; empty: as Kubernetes does."""
    pull_secrets: _Names = ()
    """Secrets to pull images with."""
    platform_secret: str = "parley-platform"
    """Secret whose keys (PARLEY_STORE …) become the environment of every agent."""
    platform_egress: tuple[dict[str, Any], ...] = ()
    """Egress rules (JSON, as in a NetworkPolicy) that every agent needs: store, queue, registry."""
    auth_issuer: str = ""
    """Issuer of the tokens that agents accept; empty: with `token_keys` the cluster's, else none."""
    auth_audience: str = "parley"
    """Audience of the tokens that agents and registry accept."""
    agent_audience: str = "parley-agents"
    """Audience of the tokens that agents are shown by each other and by the operator: the registry does not accept it."""
    auth_jwks: str = ""
    """URL or file (in the agents' pods) of the keys that verify them."""
    trusted: _Names = ()
    """Callers (owners) that may choose priorities."""
    push_allow: _Names = ()
    """Networks (CIDR) and hosts that all agents may push notifications to although they are not public, besides the agents that each names."""
    domain: str = "cluster.local"
    """DNS domain of the cluster."""
    run_as_user: int | None = 65532
    """User of the agents' containers; empty: as their images say, or as OpenShift decides."""
    addresses: Literal["names", "ips"] = "names"
    """Whether agents publish the DNS name or the address of their Service; the latter is for clusters without DNS."""
    volumes: tuple[dict[str, Any], ...] = ()
    """Volumes (JSON) that every agent's pod has besides its own …"""
    mounts: tuple[dict[str, Any], ...] = ()
    """… where its containers have them (volumeMounts) …"""
    env: tuple[dict[str, Any], ...] = ()
    """… and variables that each has besides its own."""

    workers: int = Field(default=16, ge=1, le=256)
    """Agents looked at at once."""
    resync: float = Field(default=300.0, ge=1)
    """Seconds between two looks at everything, whatever is heard of meanwhile."""
    lease_name: str = "parley-operator"
    """The Lease by which one of several operators leads."""
    lease: float = Field(default=10.0, ge=3)
    """A leader that has not renewed its lease for so long is replaced."""
    lease_margin: float = Field(default=2.5, ge=0.5)
    """So long before that a leader that cannot renew it stops writing."""
    lease_retry: float = Field(default=1.5, ge=0.1)
    """Seconds between two renewals."""

    @field_validator("namespaces", "pull_secrets", "trusted", "push_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(one.strip() for one in value.split(",") if one.strip())
        return value

    @field_validator("run_as_user", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return None if value == "" else value

    def checked(self) -> "Options":
        """These options, if they go together. Raises ConfigurationError."""
        if self.lease - self.lease_margin - self.lease_retry < 1:
            raise ConfigurationError(
                "--lease must be more than --lease-margin and --lease-retry together, by a second at least"
            )
        return self

    def settings(self, issuer: str = "", jwks: str = "") -> Settings:
        """Those that show in what the operator makes; `issuer` and `jwks` are the cluster's, for when none were given."""
        shown = self.registry if "@" not in self.registry else ""
        return Settings(
            image=self.image,
            pull_policy=self.pull_policy,
            pull_secrets=self.pull_secrets,
            registry=shown,
            registry_namespace=self.registry_namespace,
            platform_secret=self.platform_secret,
            auth_issuer=self.auth_issuer or issuer,
            auth_audience=self.auth_audience,
            agent_audience=self.agent_audience,
            auth_jwks=self.auth_jwks,
            trusted=self.trusted,
            push_allow=self.push_allow,
            domain=self.domain,
            platform_egress=self.platform_egress,
            operator_namespace=self.namespace,
            run_as_user=self.run_as_user,
            addresses=self.addresses,
            volumes=self.volumes,
            mounts=self.mounts,
            env=self.env,
            jwks=jwks if not self.auth_jwks else "",
        )
