"""An AgentCard as the registry takes it: the protocol's rules (A2A 1.0, section 4.4) and a few of its own.

Every fault is found in one go. What a card says is data of another party: it is checked for form and size,
shown as text, never followed.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from a2a.types import AgentCard
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from parley_registry.errors import CardRejected, Fault
from parley_registry.shape import fit, missing_faults
from parley_registry.versions import MAX_VERSION, is_version

MAX_CARD = 256 * 1024
"""Largest card, in bytes of JSON."""
MAX_NAME = 128
NAMESPACE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""What a namespace looks like: letters, digits, `.`, `_`, `-`, as Nacos has it."""
MAX_LIST = 512
"""Longest list of skills, tags, modes or interfaces."""
MAX_URL = 2048
MAX_FAULTS = 500
"""Faults named in one answer: a card with more of them is named the first ones."""

_MEDIA_TYPE = re.compile(
    r"^(?:\*/\*|[A-Za-z0-9!#$&^_.+-]{1,127}/(?:\*|[A-Za-z0-9!#$&^_.+-]{1,127}))(?:\s*;[\x20-\x7e]{1,256})?$"
)
_PROTOCOL_VERSION = re.compile(r"^\d{1,4}\.\d{1,4}$")
_HOST_PORT = re.compile(r"^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):(\d{1,5})$")
_TOKEN = re.compile(r"^[\x21-\x7e]{1,128}$")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class CheckedCard:
    """A card that keeps the rules. `json` is its canonical ProtoJSON; `digest` is over what makes up the version.

    Where a version answers (`supportedInterfaces`, and the signatures that cover them) is no part of the
    digest: the same version may move to another address, or run at several.
    """

    card: AgentCard
    json: bytes
    digest: str

    @property
    def interfaces(self) -> bytes:
        """The card's `supportedInterfaces` alone, as canonical JSON; of a signed card an object of these and its
        `signatures`, for they go together."""
        card = MessageToDict(self.card)
        places = card.get("supportedInterfaces", [])
        if self.card.signatures:
            places = {"supportedInterfaces": places, "signatures": card["signatures"]}
        return orjson.dumps(places, option=orjson.OPT_SORT_KEYS)


def check_card(value: Any) -> CheckedCard:
    """The card that this JSON object is. Raises CardRejected with every fault."""
    faults: list[Fault] = []
    fitting = fit(value, AgentCard.DESCRIPTOR, faults)
    if not isinstance(value, dict) or len(faults) >= MAX_FAULTS:
        raise _rejected(value, faults)
    card = AgentCard()
    try:
        ParseDict(fitting, card)
    except (ParseError, ValueError, RecursionError) as error:
        faults.append(Fault("", f"cannot be read as an AgentCard: {error}"))
        raise _rejected(value, faults) from None
    checked = canonical(card)
    json = checked.json
    if len(json) > MAX_CARD:
        faults.append(Fault("", f"is {len(json)} bytes long; at most {MAX_CARD} are taken"))
        raise _rejected(value, faults)
    misfits = {fault.field for fault in faults}
    for fault in (*missing_faults(card), *_rule_faults(card, value)):
        if not any(fault.field == one or fault.field.startswith((f"{one}.", f"{one}[")) for one in misfits):
            faults.append(fault)
    if faults:
        raise _rejected(value, faults)
    return checked


def canonical(card: AgentCard) -> CheckedCard:
    """A card with its canonical JSON and digest, whether it keeps the rules or not."""
    said = MessageToDict(card)
    what = {k: v for k, v in said.items() if k not in ("supportedInterfaces", "signatures")}
    digest = hashlib.sha256(orjson.dumps(what, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return CheckedCard(card, orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest)


def _rejected(value: Any, faults: list[Fault]) -> CardRejected:
    name = value.get("name") if isinstance(value, dict) else None
    called = f"the card of {name[:MAX_NAME]!r}" if isinstance(name, str) and name else "the card"
    counted = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return CardRejected(
        f"{called} has {counted}; correct what is named and publish again", tuple(faults[:MAX_FAULTS])
    )


def name_fault(name: str) -> str:
    """What is wrong with an agent's name, or ""."""
    if len(name) > MAX_NAME:
        return f"is {len(name)} characters long; at most {MAX_NAME} are taken"
    if _UNPRINTABLE.search(name) or "/" in name or "\\" in name:
        return "must be plain text without control characters, '/' and '\\'"
    if name != name.strip() or not name.strip("."):
        return "must not begin or end with a space, nor consist of dots alone"
    return ""


def address_fault(url: str, binding: str = "") -> str:
    """What is wrong with the address of an interface, or "": absolute http(s), or host:port for GRPC."""
    if binding.upper() == "GRPC":
        match = _HOST_PORT.match(url)
        if match and 0 < int(match[1]) < 65536:
            return ""
        fault = _url_fault(url)
        return "must be host:port or an absolute http(s) URL for GRPC" if fault else ""
    return _url_fault(url)


def _rule_faults(card: AgentCard, value: Any) -> Iterator[Fault]:
    if card.name and (fault := name_fault(card.name)):
        yield Fault("name", fault)
    if card.version and not is_version(card.version):
        yield Fault(
            "version",
            f"{card.version[:MAX_VERSION]!r} is not a semantic version; write it like 1.2.3 or 1.2.3-rc.1",
        )
    if not card.supported_interfaces and isinstance(value, dict) and "url" in value:
        yield Fault(
            "url",
            "belongs to A2A 0.3; give it as supportedInterfaces[0].url with protocolBinding and protocolVersion",
        )
    for index, interface in enumerate(card.supported_interfaces):
        here = f"supportedInterfaces[{index}]"
        if interface.url and (fault := address_fault(interface.url, interface.protocol_binding)):
            yield Fault(f"{here}.url", fault)
        if interface.protocol_binding and not _is_binding(interface.protocol_binding):
            yield Fault(f"{here}.protocolBinding", "must be JSONRPC, GRPC, HTTP+JSON or an absolute URI")
        if interface.protocol_version and not _PROTOCOL_VERSION.match(interface.protocol_version):
            yield Fault(f"{here}.protocolVersion", "must be Major.Minor, like 1.0")
    yield from _link_faults(card)
    yield from _mode_faults(card)
    yield from _skill_faults(card)
    for index, extension in enumerate(card.capabilities.extensions):
        if not extension.uri or _UNPRINTABLE.search(extension.uri) or len(extension.uri) > MAX_URL:
            yield Fault(f"capabilities.extensions[{index}].uri", "is required and must be a URI")
    for field, count in (
        ("supportedInterfaces", len(card.supported_interfaces)),
        ("skills", len(card.skills)),
        ("capabilities.extensions", len(card.capabilities.extensions)),
    ):
        if count > MAX_LIST:
            yield Fault(field, f"has {count} members; at most {MAX_LIST} are taken")


def _link_faults(card: AgentCard) -> Iterator[Fault]:
    for field, url in (
        ("provider.url", card.provider.url),
        ("documentationUrl", card.documentation_url),
        ("iconUrl", card.icon_url),
    ):
        if url and (fault := _url_fault(url)):
            yield Fault(field, fault)


def _mode_faults(card: AgentCard) -> Iterator[Fault]:
    lists = [
        ("defaultInputModes", card.default_input_modes),
        ("defaultOutputModes", card.default_output_modes),
    ]
    for index, skill in enumerate(card.skills):
        lists.append((f"skills[{index}].inputModes", skill.input_modes))
        lists.append((f"skills[{index}].outputModes", skill.output_modes))
    for field, modes in lists:
        if len(modes) > MAX_LIST:
            yield Fault(field, f"has {len(modes)} members; at most {MAX_LIST} are taken")
        for index, mode in enumerate(modes):
            if not _MEDIA_TYPE.match(mode):
                yield Fault(
                    f"{field}[{index}]", f"{mode[:80]!r} is not a media type; write it like text/plain"
                )


def _skill_faults(card: AgentCard) -> Iterator[Fault]:
    times = Counter(skill.id for skill in card.skills)
    seen: set[str] = set()
    for index, skill in enumerate(card.skills):
        here = f"skills[{index}]"
        if skill.id and not _TOKEN.match(skill.id):
            yield Fault(f"{here}.id", "must be 1 to 128 visible ASCII characters without spaces")
        elif times[skill.id] > 1 and skill.id in seen:
            yield Fault(f"{here}.id", f"{skill.id!r} is another skill's id too; ids are unique in a card")
        seen.add(skill.id)
        if len(skill.tags) > MAX_LIST:
            yield Fault(f"{here}.tags", f"has {len(skill.tags)} members; at most {MAX_LIST} are taken")
        for number, tag in enumerate(skill.tags):
            if not tag.strip() or len(tag) > MAX_NAME or _UNPRINTABLE.search(tag):
                yield Fault(f"{here}.tags[{number}]", f"must be plain text of 1 to {MAX_NAME} characters")


def _is_binding(binding: str) -> bool:
    return binding in ("JSONRPC", "GRPC", "HTTP+JSON") or (
        "://" in binding and _TOKEN.match(binding) is not None
    )


def _url_fault(url: str) -> str:
    if len(url) > MAX_URL:
        return f"is {len(url)} characters long; at most {MAX_URL} are taken"
    if _UNPRINTABLE.search(url) or " " in url:
        return "must not contain spaces or control characters"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        return "must be an absolute URL beginning with https:// or http://"
    if parts.username is not None:
        return "must not carry a user name or password"
    return ""
