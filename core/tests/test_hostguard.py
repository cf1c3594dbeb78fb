"""On loopback, a page in the user's browser does not get in; elsewhere, nobody does without a token."""

import httpx
import pytest

from parley_core.errors import ConfigurationError
from parley_core.hostguard import (
    HostGuard,
    Receive,
    Scope,
    Send,
    allowed_hosts,
    host_name,
    is_loopback,
    require_safe_listen,
)
from parley_core.identity import Anonymous, JwksAuthenticator


async def answer_ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def client(hosts: frozenset[str] | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=HostGuard(answer_ok, hosts)), base_url="http://x"
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:9999"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "LOCALHOST:1"}, 200),
        ({"host": "[::1]:9999"}, 200),
        ({"host": "agent.test:80"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:9999"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "localhost@evil.example"}, 421),
        ({"host": "localhost:evil"}, 421),
        ({"host": ""}, 421),
        ({"host": "[::1"}, 421),
        ({"host": "127.0.0.1:9999", "origin": "http://localhost:3000"}, 200),
        ({"host": "127.0.0.1:9999", "origin": "https://evil.example"}, 403),
        ({"host": "127.0.0.1:9999", "origin": "null"}, 403),
        ({"host": "127.0.0.1:9999", "origin": "http://[::"}, 403),
    ],
)
async def test_only_local_names_and_local_pages_get_in(headers: dict[str, str], status: int) -> None:
    async with client(allowed_hosts("127.0.0.1:9999", ["agent.test"])) as caller:
        answer = await caller.post("/", headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["error"]["code"] == status


async def test_two_host_headers_or_none_are_refused() -> None:
    async def status(*headers: tuple[bytes, bytes]) -> int:
        sent: list[int] = []

        async def send(message: dict) -> None:  # type: ignore[type-arg]
            if message["type"] == "http.response.start":
                sent.append(message["status"])

        guard = HostGuard(answer_ok, allowed_hosts("127.0.0.1:1"))
        await guard({"type": "http", "headers": list(headers)}, None, send)  # type: ignore[arg-type]
        return sent[0]

    local = (b"host", b"localhost")
    assert await status(local) == 200
    assert await status(local, local) == 421
    assert await status() == 421


async def test_away_from_loopback_any_name_is_fine_since_callers_prove_who_they_are() -> None:
    assert allowed_hosts("0.0.0.0:80") is None
    async with client(None) as caller:
        assert (await caller.get("/", headers={"host": "agent.cluster"})).status_code == 200


@pytest.mark.parametrize(
    ("listen", "local"),
    [
        ("127.0.0.1:9999", True),
        ("127.9.9.9:1", True),
        ("localhost:0", True),
        ("[::1]:9999", True),
        ("0.0.0.0:9999", False),
        ("[::]:9999", False),
        ("192.168.1.5:80", False),
        ("myhost:80", False),
        (":80", False),
    ],
)
def test_listening_for_others_needs_an_authenticator(listen: str, local: bool, tmp_path: object) -> None:
    assert is_loopback(listen) is local
    require_safe_listen(listen, JwksAuthenticator("i", "a", "keys.json"))
    for nobody in (None, Anonymous()):
        if local:
            require_safe_listen(listen, nobody)
        else:
            with pytest.raises(ConfigurationError, match="PARLEY_AUTH_JWKS"):
                require_safe_listen(listen, nobody)


def test_a_host_is_read_from_any_of_its_forms() -> None:
    assert [host_name(v) for v in ("A:1", "a", "[::1]:2", "::1", "a:b", "[::1]x")] == [
        "a",
        "a",
        "::1",
        "::1",
        "",
        "",
    ]
