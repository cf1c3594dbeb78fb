"""Cards for the tests of Nacos: one that uses every part of the protocol, large ones, and random ones."""

import random
from typing import Any

from hypothesis import strategies as st

from parley_registry.card import CheckedCard, check_card


def full_card(name: str = "full agent", version: str = "1.2.3") -> dict[str, Any]:
    """A card with everything that A2A 1.0 knows, and that Nacos 3.1 does not hold."""
    return {
        "name": name,
        "version": version,
        "description": 'Plans, "quotes" \\ and\n研究を計画する 🧭 < & >',
        "supportedInterfaces": [
            {
                "url": "https://a.example.com/a2a/jsonrpc",
                "protocolBinding": "JSONRPC",
                "protocolVersion": "1.0",
            },
            {
                "url": "https://a.example.com/a2a/rest",
                "protocolBinding": "HTTP+JSON",
                "protocolVersion": "1.0",
            },
            {
                "url": "a.example.com:50051",
                "protocolBinding": "GRPC",
                "protocolVersion": "1.0",
                "tenant": "t1",
            },
            {
                "url": "https://a.example.com/a2a/jsonrpc",
                "protocolBinding": "JSONRPC",
                "protocolVersion": "0.3",
            },
        ],
        "provider": {"organization": "例の会社", "url": "https://example.com"},
        "documentationUrl": "https://example.com/docs",
        "iconUrl": "https://example.com/icon.png",
        "capabilities": {
            "streaming": True,
            "pushNotifications": False,
            "extendedAgentCard": True,
            "extensions": [
                {
                    "uri": "https://example.com/x/1",
                    "required": True,
                    "params": {"n": 1.5, "deep": [None, {"": {}}]},
                }
            ],
        },
        "securitySchemes": {
            "key": {"apiKeySecurityScheme": {"name": "X-Key", "location": "header", "description": "d"}},
            "bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer", "bearerFormat": "JWT"}},
            "oidc": {
                "openIdConnectSecurityScheme": {"openIdConnectUrl": "https://i.example.com/.well-known"}
            },
            "oauth": {
                "oauth2SecurityScheme": {
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": "https://i.example.com/t",
                            "scopes": {"read": "Read"},
                        }
                    }
                }
            },
            "mtls": {"mtlsSecurityScheme": {}},
        },
        "securityRequirements": [
            {"schemes": {"oauth": {"list": ["read"]}, "mtls": {}}},
            {"schemes": {"key": {}}},
        ],
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": [
            {
                "id": "plan",
                "name": "計画",
                "description": "Splits a request into steps",
                "tags": ["plan", "分解"],
                "examples": ["Modernise the code"],
                "inputModes": ["text/plain"],
                "outputModes": ["application/json"],
                "securityRequirements": [{"schemes": {"oauth": {"list": ["read"]}}}],
            }
        ],
        "signatures": [
            {"protected": "eyJhbGciOiJFUzI1NiJ9", "signature": "c2ln", "header": {"kid": "k1", "n": 3}}
        ],
    }


def large_card(name: str, size: int, seed: int = 0) -> dict[str, Any]:
    """A card of about `size` bytes of JSON, of CJK text that does not compress well."""
    rng = random.Random(seed)
    card = full_card(name)
    skill = card["skills"][0]
    card["skills"] = [
        skill
        | {"id": f"s{number}", "description": "".join(chr(rng.randint(0x4E00, 0x9FFF)) for _ in range(1000))}
        for number in range(size // 3400)
    ]
    return card


def checked(name: str = "full agent", version: str = "1.2.3") -> CheckedCard:
    """`full_card`, checked."""
    return check_card(full_card(name, version))


_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=30)
_LINE = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp"), exclude_characters="/\\"),
    min_size=1,
    max_size=40,
).filter(lambda text: text == text.strip() and bool(text.strip(".")))
_URL = st.sampled_from(["https://a.example.com/x", "http://127.0.0.1:9999", "https://例.example/y?z=1"])
_MODES = st.lists(st.sampled_from(["text/plain", "application/json", "image/*"]), min_size=1, max_size=3)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_REQUIREMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "schemes": st.dictionaries(
                st.sampled_from(["key", "bearer", "schemes"]),
                st.fixed_dictionaries({"list": st.lists(_LINE, max_size=2)}),
                max_size=2,
            )
        }
    ),
    max_size=2,
)
VERSIONS = st.builds(
    lambda core, pre, build: core + (f"-{pre}" if pre else "") + (f"+{build}" if build else ""),
    st.from_regex(r"\A(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\Z"),
    st.sampled_from(["", "rc.1", "alpha-2.x"]),
    st.sampled_from(["", "build.7", "a-b.001"]),
)
NAMES = _LINE


def _with(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


CARDS = _with(
    {
        "name": NAMES,
        "version": VERSIONS,
        "description": _TEXT,
        "supportedInterfaces": st.lists(
            _with(
                {
                    "url": _URL,
                    "protocolBinding": st.sampled_from(["JSONRPC", "HTTP+JSON", "https://b.example/x"]),
                    "protocolVersion": st.sampled_from(["1.0", "0.3"]),
                },
                {"tenant": _LINE},
            ),
            min_size=1,
            max_size=4,
        ),
        "capabilities": _with(
            {},
            {
                "streaming": st.booleans(),
                "pushNotifications": st.booleans(),
                "extendedAgentCard": st.booleans(),
                "extensions": st.lists(
                    _with(
                        {"uri": st.sampled_from(["https://e.example/1", "urn:x:y"])},
                        {
                            "description": _TEXT,
                            "required": st.booleans(),
                            "params": st.dictionaries(_TEXT, _JSON, max_size=3),
                        },
                    ),
                    max_size=2,
                ),
            },
        ),
        "defaultInputModes": _MODES,
        "defaultOutputModes": _MODES,
        "skills": st.lists(
            _with(
                {
                    "id": st.from_regex(r"\A[a-z0-9._-]{1,20}\Z"),
                    "name": _TEXT,
                    "description": _TEXT,
                    "tags": st.lists(_LINE, min_size=1, max_size=3),
                },
                {
                    "examples": st.lists(_TEXT, max_size=2),
                    "inputModes": _MODES,
                    "securityRequirements": _REQUIREMENTS,
                },
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda skill: skill["id"],
        ),
    },
    {
        "provider": st.fixed_dictionaries({"organization": _TEXT, "url": _URL}),
        "documentationUrl": _URL,
        "iconUrl": _URL,
        "securitySchemes": st.dictionaries(
            st.sampled_from(["key", "bearer"]),
            st.sampled_from(
                [
                    {"apiKeySecurityScheme": {"name": "K", "location": "query"}},
                    {"httpAuthSecurityScheme": {"scheme": "Basic"}},
                    {"mtlsSecurityScheme": {"description": "d"}},
                ]
            ),
            max_size=2,
        ),
        "securityRequirements": _REQUIREMENTS,
        "signatures": st.lists(
            _with(
                {"protected": st.just("eyJhbGciOiJFUzI1NiJ9"), "signature": st.just("c2ln")},
                {"header": st.dictionaries(_TEXT, _JSON, max_size=2)},
            ),
            max_size=2,
        ),
    },
)
