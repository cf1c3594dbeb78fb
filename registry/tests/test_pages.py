"""What the pages promise whatever the browser: headers, no foreign posts, a way in with a token, nothing linked that is no web address."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from registry_service import RegistryThread, card_json
from token_issuer import Guarded

from parley_registry.pages.fresh import Shown
from parley_registry.pages.rendering import STATIC, ago, page, path_of, web_link

VENDORED = {
    "htmx-4.0.1.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse-4.0.1.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}


@pytest.fixture
def pages(registry: RegistryThread) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=registry.url, trust_env=False, timeout=30) as http:
        http.post("/v1/agents", json={"card": card_json()}).raise_for_status()
        yield http


@pytest.mark.parametrize(
    "path", ["/", "/agents/public/coder/1.0.0", "/agents/public/nobody", "/static/pages.css"]
)
def test_every_page_lets_the_browser_load_nothing_but_ours(pages: httpx.Client, path: str) -> None:
    headers = pages.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_pages_have_no_inline_script_or_style(pages: httpx.Client) -> None:
    for path in (
        "/",
        "/agents/public/coder/1.0.0",
        "/agents/public/coder/compare",
        "/agents/public/coder/1.0.0/try",
    ):
        text = pages.get(path).text
        assert re.findall(r"<style|<script(?! src=)| style=| on[a-z]+=", text) == []


def test_static_files_are_kept_for_ever_under_the_name_of_their_content(pages: httpx.Client) -> None:
    for path in re.findall(r'"(/static/[^"]+)"', pages.get("/").text):
        answer = pages.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert pages.get("/static/..%2Fpages.css").status_code == 404
    assert pages.get("/static/no.css").status_code == 404


def test_htmx_is_the_released_file() -> None:
    assert {name: hashlib.sha256(STATIC[name]).hexdigest() for name in VENDORED} == VENDORED


def test_an_open_page_asks_for_news_at_next_to_no_cost(pages: httpx.Client) -> None:
    asks = re.search(r'id="poll" hidden hx-get="([^"]+)"', pages.get("/").text)
    assert asks
    path = asks[1].replace("&amp;", "&")
    assert pages.get(path).status_code == 204
    pages.post("/v1/agents", json={"card": card_json("another")}).raise_for_status()
    assert "another" in pages.get(path).text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:1"}, 403),
        ({"sec-fetch-site": "same-origin"}, 400),
        ({}, 400),
    ],
)
def test_a_form_is_taken_from_our_own_pages_alone(
    pages: httpx.Client, headers: dict[str, str], status: int
) -> None:
    answer = pages.post("/agents/public/coder/1.0.0/try", data={"text": " "}, headers=headers)
    assert answer.status_code == status


def test_a_page_under_a_foreign_name_is_not_served(pages: httpx.Client) -> None:
    assert pages.get("/", headers={"host": "rebound.example"}).status_code == 421


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/?cursor=nonsense", 400),
        (f"/?text={'x' * 300}", 400),
        ("/agents/public/coder/9.9.9", 404),
        ("/agents/not%20a%20namespace/coder", 404),
        ("/agents/public/coder/1.0.0/tasks/x?via=unknown", 502),
    ],
)
def test_what_goes_wrong_is_told_as_a_page(pages: httpx.Client, path: str, status: int) -> None:
    answer = pages.get(path, follow_redirects=True)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>" in answer.text


@pytest.mark.parametrize("field", ["text", "tag", "health"])
def test_more_than_can_be_asked_for_is_left_out_or_refused(pages: httpx.Client, field: str) -> None:
    many = "&".join(f"{field}=value{n}" for n in range(40))
    assert pages.get(f"/?{many}").status_code in (200, 400)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        " https://example.com",
        "data:text/html,x",
        "//example.com",
        "/login",
        "vbscript:x",
        "http://",
        "https://[bad",
        None,
        7,
    ],
)
def test_only_web_addresses_are_links(url: Any) -> None:
    assert web_link(url) == ""
    assert web_link("https://example.com/a?b=<c>") == "https://example.com/a?b=<c>"


def test_names_make_safe_paths_and_times_read_as_people_say_them() -> None:
    assert path_of("public", "a b?/../é", "1.0.0+x") == "/agents/public/a%20b%3F%2F..%2F%C3%A9/1.0.0%2Bx"
    assert [ago(0, now) for now in (5, 300, 7200, 400_000)] == [
        "just now",
        "5 min ago",
        "2 h ago",
        "4 days ago",
    ]
    assert ago(0, 10**8) == "1970-01-01"


@pytest.mark.parametrize(
    ("age", "told"),
    [(16.2, "as it was 16 seconds ago"), (660.0, "as it was 11 minutes ago"), (None, "not known yet")],
)
def test_a_stale_state_is_told_on_top(age: float | None, told: str) -> None:
    found = {"entries": [], "facets": {}, "next": "", "total": 0, "notes": []}
    answer = page(
        "list.html", found=found, facets=[], text="", hidden=[], itself="/", first="", following="", older="/",
        with_older=False, base="", shown=Shown("7s", True, "<nacos> does not answer", age),
    )  # fmt: skip
    text = bytes(answer.body).decode()
    assert told in text
    assert "&lt;nacos&gt; does not answer." in text


def test_where_callers_must_prove_who_they_are_a_browser_signs_in_once(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path)
    with (
        RegistryThread(tmp_path / "r.db", **guarded.settings) as registry,
        httpx.Client(base_url=registry.url, trust_env=False) as http,
    ):
        turned = http.get("/agents/public/coder?x=1")
        assert turned.status_code == 303
        assert turned.headers["location"] == "/login?next=%2Fagents%2Fpublic%2Fcoder%3Fx%3D1"
        assert http.get("/", headers={"hx-request": "true"}).headers["hx-redirect"] == "/login"
        assert http.get("/static/pages.css").status_code == 200
        for wrong in ("nonsense", guarded.token(exp=1), guarded.token(aud="others"), "x" * 5000):
            refused = http.post("/login", data={"token": wrong})
            assert refused.status_code == 401
            assert "set-cookie" not in refused.headers
            assert wrong not in refused.text
        foreign = http.post(
            "/login", data={"token": guarded.token()}, headers={"sec-fetch-site": "cross-site"}
        )
        assert foreign.status_code == 403
        signed = http.post("/login?next=/agents/public/coder", data={"token": guarded.token()})
        assert signed.headers["location"] == "/agents/public/coder"
        cookie = signed.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert http.get("/").status_code == 200
        assert http.get("/v1/agents").status_code == 401, "the cookie is for pages, not for the API"
        assert "Sign out" in http.get("/").text
        assert http.get("/logout").status_code == 404
        http.post("/logout")
        assert http.get("/").status_code == 303


@pytest.mark.parametrize(
    "following",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x", "/v1/agents", "/logout"],
)
def test_signing_in_leads_to_our_pages_only(tmp_path: Path, following: str) -> None:
    guarded = Guarded(tmp_path)
    with RegistryThread(tmp_path / "r.db", **guarded.settings) as registry:
        signed = httpx.post(
            f"{registry.url}/login",
            params={"next": following},
            data={"token": guarded.token()},
            trust_env=False,
        )
        assert signed.headers["location"] == "/"
