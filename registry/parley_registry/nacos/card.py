"""An AgentCard as Nacos takes it, and back. Pure.

Nacos 3.1 knows cards of A2A 0.3 and drops the rest; from 3.2.1 it also knows most of 1.0. So a card is sent in the
shape of 0.3, with those members of 1.0 beside it that a newer Nacos keeps and an older ignores, and with the exact
1.0 card as a text in the params of one extension, which every Nacos keeps to the byte. One form serves all
servers: what differs between them is here and nowhere else.
"""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict, ParseError

from parley_registry.card import MAX_CARD, CheckedCard, canonical
from parley_registry.errors import Fault
from parley_registry.legacy import modern
from parley_registry.nacos.layout import nacos_name, nacos_version
from parley_registry.shape import fit

EXACT = "urn:parley:a2a:agent-card:1.0"
"""URI of the extension that carries the exact card."""
_TEXT = "card"
_DEFLATED = "cardDeflated"
_LONG = 32 * 1024
"""Cards longer than this travel deflated: Nacos takes forms of up to 2 MB, in which each byte may become three."""

_SCHEMES = {
    "apiKeySecurityScheme": "apiKey",
    "httpAuthSecurityScheme": "http",
    "oauth2SecurityScheme": "oauth2",
    "openIdConnectSecurityScheme": "openIdConnect",
    "mtlsSecurityScheme": "mutualTLS",
}
_SKILL = ("id", "name", "description", "tags", "examples", "inputModes", "outputModes")
_COMMON = (
    "name",
    "version",
    "description",
    "provider",
    "documentationUrl",
    "iconUrl",
    "defaultInputModes",
    "defaultOutputModes",
)
"""What 0.3 and 1.0 say alike."""


@dataclass(frozen=True, slots=True)
class HeldCard:
    """A card that was read from Nacos. `exact` says that it is to the byte what was published through Parley.

    Of another's card `checked` is what could be understood; it need not keep the registry's rules.
    """

    checked: CheckedCard
    exact: bool


def to_nacos(checked: CheckedCard) -> dict[str, Any]:
    """The `agentCard` that is sent to Nacos for this card."""
    card = orjson.loads(checked.json)
    interfaces = card.get("supportedInterfaces", [])
    first = interfaces[0] if interfaces else {}
    requirements = [_plain(one) for one in card.get("securityRequirements", ())]
    capabilities = dict(card.get("capabilities", {}))
    capabilities["extensions"] = [
        *(one for one in capabilities.get("extensions", ()) if one.get("uri") != EXACT),
        _exact(checked.json),
    ]
    return {key: card[key] for key in _COMMON if key in card} | {
        "name": nacos_name(card.get("name", "")),
        "version": nacos_version(card.get("version", "")),
        "protocolVersion": first.get("protocolVersion") or "1.0",
        "preferredTransport": first.get("protocolBinding") or "JSONRPC",
        "url": first.get("url") or "http://0.0.0.0",
        "additionalInterfaces": [
            {"url": one.get("url", ""), "transport": one.get("protocolBinding", "")} for one in interfaces[1:]
        ],
        "supportedInterfaces": interfaces,
        "supportsAuthenticatedExtendedCard": bool(capabilities.get("extendedAgentCard")),
        "capabilities": capabilities,
        "securitySchemes": {k: _legacy_scheme(v) for k, v in card.get("securitySchemes", {}).items()},
        "security": requirements,
        "securityRequirements": requirements,
        "skills": [
            {key: skill[key] for key in _SKILL if key in skill}
            | {"security": [_plain(one) for one in skill.get("securityRequirements", ())]}
            for skill in card.get("skills", ())
        ],
    }


def from_nacos(told: Mapping[str, Any]) -> HeldCard:
    """The card that Nacos tells: the exact one if it is there and nobody changed the rest, else what can be read.

    Raises ValueError when it is no card at all (no name or no version).
    """
    try:
        native = _without_nulls(dict(told))
        exact = _exact_of(native)
        if exact is not None and _agrees(exact, native):
            return HeldCard(exact, exact=True)
        return HeldCard(_read(native), exact=False)
    except RecursionError as error:
        raise ValueError("not an AgentCard: it is nested too deeply") from error


def stored_form(told: Mapping[str, Any]) -> dict[str, Any]:
    """What Nacos tells, as it was sent to it: to publish a card again without change."""
    return {k: v for k, v in told.items() if k not in ("registrationType", "latestVersion")}


def _exact(json: bytes) -> dict[str, Any]:
    params = (
        {_TEXT: json.decode()}
        if len(json) <= _LONG
        else {_DEFLATED: base64.urlsafe_b64encode(zlib.compress(json, 6)).decode()}
    )
    return {
        "uri": EXACT,
        "description": "This card as it was published, in A2A 1.0",
        "required": False,
        "params": params,
    }


def _exact_of(native: Mapping[str, Any]) -> CheckedCard | None:
    for extension in _dict(native.get("capabilities")).get("extensions") or ():
        params = _dict(_dict(extension).get("params"))
        if _dict(extension).get("uri") == EXACT and params:
            try:
                json = _text_of(params)
                card = AgentCard()
                ParseDict(orjson.loads(json), card)
            except (ValueError, KeyError, AttributeError, zlib.error, ParseError, RecursionError):
                return None
            checked = canonical(card)
            return checked if checked.json == json else None
    return None


def _text_of(params: Mapping[str, Any]) -> bytes:
    if isinstance(params.get(_TEXT), str):
        return str(params[_TEXT]).encode()
    inflater = zlib.decompressobj()
    json = inflater.decompress(base64.urlsafe_b64decode(params[_DEFLATED]), MAX_CARD + 1)
    if len(json) > MAX_CARD:
        raise ValueError("larger than any card")
    return json


def _agrees(exact: CheckedCard, native: Mapping[str, Any]) -> bool:
    return _essence(to_nacos(exact)) == _essence(native)


def _essence(native: Mapping[str, Any]) -> dict[str, Any]:
    """What a person may have changed in Nacos's console; where it answers is left out, for Nacos itself rewrites it."""
    capabilities = _dict(native.get("capabilities"))
    said = {key: native.get(key) for key in _COMMON}
    said["skills"] = [{key: _dict(one).get(key) for key in _SKILL} for one in native.get("skills") or ()]
    said["streaming"] = capabilities.get("streaming") or None
    said["pushNotifications"] = capabilities.get("pushNotifications") or None
    said["extensions"] = [
        _dict(one).get("uri")
        for one in capabilities.get("extensions") or ()
        if _dict(one).get("uri") != EXACT
    ]
    found: dict[str, Any] = _without_empty(said)
    return found


def _read(native: dict[str, Any]) -> CheckedCard:
    card = {k: v for k, v in native.items() if k not in ("registrationType", "latestVersion")}
    if "supportedInterfaces" in card:
        for key in ("url", "preferredTransport", "protocolVersion", "additionalInterfaces", "security"):
            card.pop(key, None)
    else:
        card.setdefault("url", "")
        card.pop("securityRequirements", None)
    lifted = modern(card)
    if "url" in lifted:  # its security says what nobody can read: the rest may still be of use
        lifted = modern({k: v for k, v in card.items() if k not in ("security", "securitySchemes")})
    for holder in (lifted, *(one for one in lifted.get("skills") or () if isinstance(one, dict))):
        if "securityRequirements" in holder:
            holder["securityRequirements"] = [_lifted(one) for one in holder["securityRequirements"]]
    _drop_exact(lifted)
    faults: list[Fault] = []  # they are another's: what does not fit is left out
    message = AgentCard()
    try:
        ParseDict(fit(lifted, AgentCard.DESCRIPTOR, faults), message)
    except (ParseError, ValueError, RecursionError) as error:
        raise ValueError(f"not an AgentCard: {error}") from error
    if not message.name or not message.version:
        raise ValueError("not an AgentCard: it has no name or no version")
    if "\0" in message.name + message.version:
        raise ValueError("not an AgentCard: no database keeps its name or version")
    unique = {
        (one.url, one.protocol_binding, one.protocol_version): one
        for one in message.supported_interfaces
        if one.url
    }
    kept = list(unique.values())
    del message.supported_interfaces[:]
    message.supported_interfaces.extend(kept)
    return canonical(message)


def _drop_exact(card: dict[str, Any]) -> None:
    capabilities = _dict(card.get("capabilities"))
    if capabilities.get("extensions"):
        capabilities["extensions"] = [
            one for one in capabilities["extensions"] if _dict(one).get("uri") != EXACT
        ]


def _plain(requirement: Mapping[str, Any]) -> dict[str, list[str]]:
    """A SecurityRequirement of 1.0 as 0.3 (and Nacos also for 1.0) writes it."""
    return {
        name: list(_dict(scopes).get("list", ()))
        for name, scopes in _dict(requirement.get("schemes")).items()
    }


def _lifted(requirement: Any) -> Any:
    if not isinstance(requirement, dict) or isinstance(requirement.get("schemes"), dict):
        return requirement
    return {"schemes": {name: {"list": scopes} for name, scopes in requirement.items()}}


def _legacy_scheme(scheme: Mapping[str, Any]) -> dict[str, Any]:
    for wrapper, kind in _SCHEMES.items():
        if wrapper in scheme:
            body = dict(scheme[wrapper])
            if kind == "apiKey" and "location" in body:
                body["in"] = body.pop("location")
            return {"type": kind, **body}
    return {}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _without_nulls(value: Any) -> Any:
    """JSON without null members."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value


def _without_empty(value: Any) -> Any:
    """JSON without members that are null or empty: a reader of cards does not tell them from absent ones."""
    if isinstance(value, dict):
        stripped = {k: _without_empty(v) for k, v in value.items()}
        return {k: v for k, v in stripped.items() if v not in (None, "", [], {})}
    if isinstance(value, list):
        return [_without_empty(one) for one in value]
    return value
