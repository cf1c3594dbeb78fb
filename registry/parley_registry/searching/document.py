"""What search knows of a card: its text by field, and its values by facet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FACETS = (
    "namespace",
    "skill",
    "tag",
    "capability",
    "extension",
    "inputMode",
    "outputMode",
    "provider",
    "binding",
    "protocolVersion",
    "security",
    "signature",
    "health",
)
"""The facets that a search counts, by the names of its parameters."""

OPEN = ("skill", "tag", "provider")
"""Those of them with as many values as people think of; the others have a few."""

INTERFACE = "interface"
"""A facet kept but not shown: binding and protocol version of one and the same interface."""

_CAPABILITIES = ("streaming", "pushNotifications", "extendedAgentCard")
_SCHEMES = {
    "apiKeySecurityScheme": "apiKey",
    "httpAuthSecurityScheme": "http",
    "oauth2SecurityScheme": "oauth2",
    "openIdConnectSecurityScheme": "openIdConnect",
    "mtlsSecurityScheme": "mutualTLS",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A card as it is indexed: `values` are pairs of facet and value, without those that change while the card does not."""

    name: str
    skills: str
    about: str
    values: tuple[tuple[str, str], ...]


def document(namespace: str, card: Mapping[str, Any]) -> Document:
    """The document of a card given as valid ProtoJSON, and of the namespace that it is published in."""
    skills = card.get("skills", [])
    provider = card.get("provider", {}).get("organization", "")
    titles, about = [], [card.get("description", ""), provider]
    for skill in skills:
        titles += [skill["id"], skill["name"], *skill["tags"]]
        about += [skill["description"], *skill.get("examples", ())]
    values = dict.fromkeys(_values(card, skills, provider))
    return Document(
        name=card["name"],
        skills="\n".join(titles),
        about="\n".join(about),
        values=(("namespace", namespace), ("version", card["version"]), *values),
    )


def security(card: Mapping[str, Any]) -> list[str]:
    """The kinds of security schemes that a card declares (specification, section 4.5), by their names in OpenAPI; "none"
    if it declares none."""
    schemes = card.get("securitySchemes", {}).values()
    return [_SCHEMES[kind] for scheme in schemes for kind in scheme if kind in _SCHEMES] or ["none"]


def media_type(mode: str) -> str:
    """A media type without its parameters."""
    return mode.partition(";")[0].strip()


def _values(
    card: Mapping[str, Any], skills: Iterable[Mapping[str, Any]], provider: str
) -> Iterable[tuple[str, str]]:
    for skill in skills:
        yield "skill", skill["id"]
        for tag in skill["tags"]:
            yield "tag", tag
    capabilities = card.get("capabilities", {})
    for capability in _CAPABILITIES:
        if capabilities.get(capability):
            yield "capability", capability
    for extension in capabilities.get("extensions", ()):
        yield "extension", extension["uri"]
    for facet, common, own in (
        ("inputMode", "defaultInputModes", "inputModes"),
        ("outputMode", "defaultOutputModes", "outputModes"),
    ):
        for mode in card.get(common, ()):
            yield facet, media_type(mode)
        for skill in skills:
            for mode in skill.get(own, ()):
                yield facet, media_type(mode)
    if provider:
        yield "provider", provider
    for interface in card.get("supportedInterfaces", ()):
        yield "binding", interface["protocolBinding"]
        yield "protocolVersion", interface["protocolVersion"]
        yield INTERFACE, f"{interface['protocolBinding']} {interface['protocolVersion']}"
    for kind in security(card):
        yield "security", kind
