"""What all resources are made of: models in camelCase, and the kinds of text that fields hold."""

import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

GROUP = "parley.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_DURATION = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"

Duration = Annotated[str, Field(min_length=2, max_length=24, pattern=_DURATION)]
"""A length of time as `90s`, `10m`, `1h30m`."""
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of an object of Kubernetes."""
AgentName = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
"""The name of an Agent: the names of what is made of it are a little longer."""
Text = Annotated[str, Field(max_length=1024)]
Url = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s/]+")]
Labels = Annotated[dict[str, Annotated[str, Field(max_length=253)]], Field(max_length=64)]

Free = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""An object of Kubernetes' own that is handed on as it is; what is wrong in it shows when it is used."""
Quantity = Annotated[
    int | str,
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        }
    ),
]
"""An amount as Kubernetes writes it: `500m`, `1`, `2Gi`."""


class Model(BaseModel):
    """Part of a resource. Fields are written in camelCase; the text below a field is what `kubectl explain` shows."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        extra="ignore",
        frozen=True,
    )

    @classmethod
    def read(cls, told: Any) -> Self:
        """From what the API server holds. Raises pydantic.ValidationError."""
        return cls.model_validate(told)

    def written(self) -> dict[str, Any]:
        """As it is written in YAML, without what is at its default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def rules(*pairs: tuple[str, str]) -> ConfigDict:
    """CEL rules of a model, each with what is said to whoever breaks it."""
    said: list[JsonValue] = [{"rule": rule, "message": message} for rule, message in pairs]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": said})


def seconds(duration: str) -> float:
    """The length of a Duration. Raises ValueError for what is none."""
    found = re.fullmatch(_DURATION, duration)
    if not found or not duration:
        raise ValueError(f"{duration!r} is no length of time; write it like 90s, 10m or 1h30m")
    parts = (int(part[:-1]) if part else 0 for part in found.groups())
    return float(sum(count * size for count, size in zip(parts, (3600, 60, 1), strict=True)))
