"""The card: cached by ETag, readable by clients of both versions."""

import copy
from typing import Any

from a2a.client.card_resolver import parse_agent_card
from a2a.compat.v0_3 import types as v03

CARD = "/.well-known/agent-card.json"


async def test_the_card_is_revalidated_with_a_304(served: Any) -> None:
    first = await served.client.get(CARD)
    assert first.status_code == 200
    assert "max-age=" in first.headers["cache-control"]
    etag = first.headers["etag"]
    for header in (etag, f'"x", {etag}', "*"):
        again = await served.client.get(CARD, headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    assert (await served.client.get(CARD, headers={"If-None-Match": '"x"'})).status_code == 200


async def test_head_says_what_get_would(served: Any) -> None:
    got, head = await served.client.get(CARD), await served.client.head(CARD)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["etag"] == got.headers["etag"]
    assert (await served.client.post(CARD)).status_code == 405


async def test_clients_of_both_versions_can_read_it(served: Any) -> None:
    document = (await served.client.get(CARD)).json()
    current = parse_agent_card(copy.deepcopy(document))
    assert [(i.protocol_binding, i.protocol_version) for i in current.supported_interfaces] == [
        ("JSONRPC", "1.0"),
        ("HTTP+JSON", "1.0"),
        ("JSONRPC", "0.3"),
        ("HTTP+JSON", "0.3"),
    ]
    old = v03.AgentCard.model_validate(document)
    assert old.url.endswith("/a2a/jsonrpc")
    assert old.preferred_transport == "JSONRPC"
