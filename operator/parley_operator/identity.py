"""What makes a version of an agent the version that it is: a hash of all that its pods are made from."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from parley_operator.observed import Settings
from parley_operator.resources.agent import AgentSpec, Template
from parley_operator.resources.security import Account
from parley_operator.resources.version import AgentVersionSpec

_MODES = ["text/plain"]
_CAPABILITIES = {"streaming": True, "pushNotifications": True}


@dataclass(frozen=True, slots=True)
class References:
    """Names of the Secrets and ConfigMaps that an Agent needs."""

    secrets: frozenset[str] = frozenset()
    configmaps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unidentified:
    """Why it cannot be said what the version is, in one word and in words."""

    reason: str
    message: str


def references(spec: AgentSpec, settings: Settings) -> References:
    """What has to be read to identify the version of an Agent's spec."""
    if spec.runtime == "remote":
        return References()
    found = list(_references(spec))
    secrets = {name for kind, name in found if kind == "Secret"} | {platform_secret(spec, settings)}
    configmaps = {name for kind, name in found if kind == "ConfigMap"}
    if spec.card is not None and spec.card.config_map is not None:
        configmaps.add(spec.card.config_map.name)
    return References(frozenset(secrets - {""}), frozenset(configmaps))


def platform_secret(template: Template, settings: Settings) -> str:
    """The Secret with the platform's addresses, "" for none."""
    return template.platform.secret or settings.platform_secret


def identify(
    name: str,
    spec: AgentSpec,
    settings: Settings,
    secrets: Mapping[str, str],
    configmaps: Mapping[str, Mapping[str, str]],
) -> AgentVersionSpec | Unidentified:
    """The version that an Agent's spec means now, with what it refers to as it is now."""
    needed = references(spec, settings)
    platform = platform_secret(spec, settings)
    missing = [f"Secret {one}" for one in sorted(needed.secrets - secrets.keys() - {platform})]
    missing += [f"ConfigMap {one}" for one in sorted(needed.configmaps - configmaps.keys())]
    if missing:
        many = len(missing) > 1
        said = f"{', '.join(missing)} {'are' if many else 'is'} not there; create {'them' if many else 'it'}"
        return Unidentified("ReferenceMissing", f"{said}, or take {'them' if many else 'it'} out of the spec")
    if platform and platform not in secrets:
        said = f"Secret {platform}, which has the addresses of store and registry, is not in this namespace"
        return Unidentified("PlatformMissing", f"{said}; create it")
    card = _card(name, spec, configmaps)
    if isinstance(card, Unidentified):
        return card
    kept = {field: getattr(spec, field) for field in Template.model_fields}
    kept["card"] = None  # what it says is in `card`, resolved
    if spec.runtime == "native" and spec.image is None:
        kept["image"] = settings.image
    template = Template(**kept)
    account = Account(**{field: getattr(spec.security, field) for field in Account.model_fields})
    sources = {f"Secret/{one}": secrets[one] for one in sorted(needed.secrets)}
    sources |= {f"ConfigMap/{one}": _hashed(configmaps[one]) for one in sorted(needed.configmaps)}
    if (
        spec.card is not None
        and spec.card.config_map is not None
        and not _used(spec, spec.card.config_map.name)
    ):
        del sources[f"ConfigMap/{spec.card.config_map.name}"]  # the card counts, not what else is there
    digest = _hashed([template.written(), account.written(), card, sources])[:8]
    version = f"{spec.version}+{digest}"
    return AgentVersionSpec(
        agent=name,
        hash=digest,
        version=version,
        template=template,
        account=account,
        push_to=tuple(sorted(spec.security.network.agents)),  # not hashed: whom it may call makes no version
        card=card | {"version": version} if card else {},
        sources=sources,
    )


def version_name(agent: str, digest: str) -> str:
    """Name of an AgentVersion, its Deployment and its ConfigMap."""
    return f"{agent}-{digest}"


def _card(
    name: str, spec: AgentSpec, configmaps: Mapping[str, Mapping[str, str]]
) -> dict[str, Any] | Unidentified:
    """The card but for its version and its interfaces; empty when there is none."""
    if spec.card is None:
        return {}
    told: Any = spec.card.inline
    if spec.card.config_map is not None:
        place = spec.card.config_map
        text = configmaps[place.name].get(place.key)
        if text is None:
            return Unidentified("CardMissing", f"ConfigMap {place.name} has no key {place.key}")
        try:
            told = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return Unidentified(
                "CardInvalid", f"key {place.key} of ConfigMap {place.name} is not JSON: {error}"
            )
    if not isinstance(told, dict):
        return Unidentified("CardInvalid", "the card is not a JSON object")
    faults = [
        f"{field}: {wanted}"
        for field, kind, wanted in (
            ("description", str, "what the agent does, as text, is missing"),
            ("skills", list, "the list of what the agent can do is missing"),
        )
        if not isinstance(told.get(field), kind) or not told[field]
    ]
    if faults:
        return Unidentified("CardInvalid", f"the card is not complete: {'; '.join(faults)}")
    card = {
        "capabilities": _CAPABILITIES,
        "defaultInputModes": _MODES,
        "defaultOutputModes": _MODES,
        **told,
        "name": name,
    }
    for filled in ("version", "supportedInterfaces", "signatures"):
        card.pop(filled, None)
    return card


def _references(template: Template) -> Iterator[tuple[str, str]]:
    """Kind and name of the Secrets and ConfigMaps that the pods use."""
    for variable in template.env:
        source = variable.value_from
        if source is not None and source.secret_key_ref is not None:
            yield "Secret", source.secret_key_ref.name
        if source is not None and source.config_map_key_ref is not None:
            yield "ConfigMap", source.config_map_key_ref.name
    for secret, configmap in (
        *((one.secret, one.config_map) for one in template.env_from),
        *((one.secret, one.config_map) for one in template.files),
    ):
        if secret:
            yield "Secret", secret
        if configmap:
            yield "ConfigMap", configmap


def _used(template: Template, configmap: str) -> bool:
    return ("ConfigMap", configmap) in set(_references(template))


def _hashed(of: Any) -> str:
    return hashlib.sha256(orjson.dumps(of, option=orjson.OPT_SORT_KEYS)).hexdigest()
