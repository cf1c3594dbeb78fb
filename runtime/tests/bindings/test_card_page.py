"""The card: cached by ETag, readable by clients of both versions."""

import copy
from typing import Any

from a2a.client.card_resolver import parse_agent_card
from a2a.compat.v0_3 import types as v03
from google.protobuf.json_format import MessageToDict

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
    document = (await served.client.get(CARD, headers={"A2A-Version": ""})).json()
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


async def test_who_asks_for_1_0_gets_the_card_alone(served: Any) -> None:
    both = await served.client.get(CARD, headers={"A2A-Version": ""})
    alone = await served.client.get(CARD, headers={"A2A-Version": "1.0"})
    assert "url" in both.json()
    assert alone.json() == MessageToDict(served.front.card)
    assert alone.headers["etag"] != both.headers["etag"]
    assert alone.headers["vary"] == "A2A-Version"


async def test_the_tag_changes_with_the_key_and_not_with_the_signature(served: Any) -> None:
    tags = []
    for protected, signature in (("key-1", "a"), ("key-1", "b"), ("key-2", "c")):
        del served.front.card.signatures[:]
        served.front.card.signatures.add(protected=protected, signature=signature)
        answer = await served.client.get(CARD)
        tags.append(answer.headers["etag"])
    assert tags[0] == tags[1] != tags[2]
    assert answer.json()["signatures"] == [{"protected": "key-2", "signature": "c"}]
