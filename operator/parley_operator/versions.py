"""The versions of an Agent as they are: what each is, how it is, and what runs of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from parley_operator.identity import version_name
from parley_operator.observed import Object, Ref
from parley_operator.resources.version import AgentVersion, AgentVersionSpec, AgentVersionStatus


@dataclass(frozen=True, slots=True)
class Version:
    """An AgentVersion with its Deployment, None while there is none."""

    name: str
    uid: str
    spec: AgentVersionSpec
    status: AgentVersionStatus
    deployment: Object | None
    deleting: bool = False

    @property
    def version(self) -> str:
        """As it is published."""
        return self.spec.version

    @property
    def replicas(self) -> int:
        """Pods there are to be."""
        return int(self.deployment["spec"].get("replicas", 1)) if self.deployment else 0

    @property
    def available(self) -> int:
        """Pods that take calls."""
        return self._count("availableReplicas")

    @property
    def pods(self) -> int:
        """Pods that there are."""
        return self._count("replicas")

    @property
    def complete(self) -> bool:
        """Whether it has all its pods, and they take calls."""
        return self.replicas > 0 and min(self.available, self._count("updatedReplicas")) >= self.replicas

    def _count(self, field: str) -> int:
        return int(((self.deployment or {}).get("status") or {}).get(field) or 0)


def versions_of(objects: Iterable[Object], children: Mapping[Ref, Object]) -> tuple[Version, ...]:
    """The AgentVersions, newest first. One that cannot be read, which the API server should have refused, is left out, and so
    is one that is not called as what it is of."""
    found = []
    for one in sorted(objects, key=_age, reverse=True):
        meta = one["metadata"]
        try:
            read = AgentVersion.read({"spec": one["spec"], "status": one.get("status") or {}})
        except ValidationError:
            continue
        if meta["name"] != version_name(read.spec.agent, read.spec.hash):
            continue  # somebody's copy: what was made of it would be another's
        found.append(
            Version(
                meta["name"],
                meta.get("uid", ""),
                read.spec,
                read.status,
                children.get(Ref("Deployment", meta["name"])),
                "deletionTimestamp" in meta,
            )
        )
    return tuple(found)


def _age(one: Object) -> tuple[str, str]:
    meta = one["metadata"]
    return meta.get("creationTimestamp") or "9999", meta["name"]
