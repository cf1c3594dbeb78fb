"""The registry's pages as a person meets them: found, narrowed down, read, by keyboard, on a phone, in the dark."""

import re
from pathlib import Path

import httpx
import pytest
from browsed import HOSTILE, INJECTION, World
from browser import Visitor, faults, focused, overflow
from playwright.sync_api import Browser, Page, expect
from registry_service import RegistryProcess, RegistryThread, card_json
from token_issuer import Guarded

from engines.ports import free_port

pytestmark = [pytest.mark.browser, pytest.mark.processes]

PAGES = {
    "list": "/",
    "search": "/?text=code&tag=python",
    "nothing": "/?text=nothingisthatword",
    "agent": "/agents/public/coder/1.1.0",
    "hostile": "/agents/public/%3Cscript%3Ealert(1)%3Cscript%3E/1.0.0",
    "card": "/agents/public/coder/1.1.0/card",
    "compare": "/agents/public/coder/compare",
    "try": "/agents/public/full/1.0.0/try",
    "history": "/agents/public/coder/history",
    "prompts": "/prompts",
    "prompt": "/prompts/public/planner-system",
    "mcp servers": "/mcp",
    "mcp server": "/mcp/public/io.example.team%2Ffiles",
    "missing": "/agents/public/nobody",
}


def names(page: Page) -> list[str]:
    return page.locator(".agent h3 a").all_inner_texts()


def test_a_search_narrows_the_list_while_it_is_typed_and_its_address_can_be_passed_on(
    visitor: Visitor,
) -> None:
    page = visitor.visit()
    expect(page.locator("#count")).to_have_text(re.compile(r"^\d\d agents$"))
    page.get_by_label("Search agents").press_sequentially("review", delay=20)
    expect(page.locator("#count")).to_contain_text("for “review”")
    assert names(page)[0] == "reviewer"
    expect(page.locator(".agent").first).to_contain_text("skill review")
    expect(page).to_have_url(re.compile(r"text=review"))
    assert names(visitor.visit(page.url)) == names(page)


def test_choices_add_up_are_counted_and_can_be_taken_back(visitor: Visitor) -> None:
    page = visitor.visit()
    facets = page.get_by_role("navigation", name="Narrow down")
    facets.get_by_role("link", name=re.compile("^python")).click()
    expect(page).to_have_url(re.compile("tag=python"))
    facets.get_by_role("link", name=re.compile("^up")).click()
    expect(page).to_have_url(re.compile("health=up"))
    expect(page.locator("#count")).to_have_text(re.compile("^1 agent"))
    assert names(page) == ["coder"]
    assert names(visitor.visit(page.url)) == ["coder"]
    page.locator(".summary").get_by_role("link", name="Take back health up").click()
    expect(page.locator("#count")).not_to_have_text(re.compile("^1 agent"))
    assert "health" not in page.url
    assert "tag=python" in page.url
    page.go_back()
    expect(page.locator("#count")).to_have_text(re.compile("^1 agent"))
    page.go_forward()
    expect(page.locator("#count")).not_to_have_text(re.compile("^1 agent"))


def test_a_long_list_has_further_pages(visitor: Visitor) -> None:
    page = visitor.visit()
    addresses = "links => links.map(link => link.href)"
    first = page.locator(".agent h3 a").evaluate_all(addresses)
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    assert not set(first) & set(page.locator(".agent h3 a").evaluate_all(addresses))


def test_an_agents_page_says_what_its_card_says_and_how_it_is(visitor: Visitor, here: World) -> None:
    page = visitor.visit("/agents/public/coder")
    expect(page).to_have_url(re.compile("/agents/public/coder/1.1.0$"))
    expect(page.locator(".facts")).to_contain_text("up")
    expect(page.get_by_text("coder-1", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Edit code")).to_be_visible()
    page.get_by_role("link", name="Card").click()
    expect(page.locator("pre.json")).to_contain_text('"protocolBinding": "JSONRPC"')
    raw = httpx.get(here.url + str(page.get_by_role("link", name="Raw JSON").get_attribute("href")))
    assert raw.json()["name"] == "coder"


def test_versions_stand_side_by_side_and_what_differs_is_marked(visitor: Visitor) -> None:
    page = visitor.visit("/agents/public/coder/1.0.0")
    page.get_by_role("link", name="See them side by side").click()
    expect(page.locator("thead th")).to_have_text([re.compile("1.1.0"), re.compile("1.0.0")])
    row = page.get_by_role("row", name=re.compile("^Skills"))
    expect(row).to_contain_text("differs")
    expect(row.locator("td").first).to_contain_text("Format")
    expect(row.locator("td").last).not_to_contain_text("Format")


def test_everything_is_reached_from_the_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.visit()
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.keyboard.press("/")
    assert focused(page) == "text"
    page.keyboard.type("reviewer")
    expect(page.locator("#count")).to_contain_text("for “reviewer”")
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused(page) == "reviewer":
            break
    assert focused(page) == "reviewer"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/agents/public/reviewer/"))
    page.keyboard.press("/")
    expect(page.get_by_label("Search agents")).to_be_focused()


def test_an_open_list_follows_what_happens_and_the_focus_stays(visitor: Visitor, here: World) -> None:
    page = visitor.visit("/?tag=live")
    expect(page.get_by_text("No agent fits")).to_be_visible()
    here.publish(card_json("live-b", skills=[{"id": "s", "name": "S", "description": "s", "tags": ["live"]}]))
    link = page.get_by_role("link", name="live-b", exact=True)
    expect(link).to_be_visible()
    link.focus()
    here.publish(card_json("live-a", skills=[{"id": "s", "name": "S", "description": "s", "tags": ["live"]}]))
    expect(page.get_by_role("link", name="live-a", exact=True)).to_be_visible()
    assert focused(page) == "live-b"


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_accessible_on_a_phone_and_in_the_dark(visitor: Visitor, name: str) -> None:
    phone = {"width": 320, "height": 640}
    for scheme, size in (("light", {"width": 1100, "height": 800}), ("dark", phone)):
        page = visitor.visit(PAGES[name], color_scheme=scheme, viewport=size)
        assert overflow(page) <= 0
        assert faults(page) == []
    if name == "missing":
        assert all("404" in one for one in visitor.complaints)
        visitor.complaints.clear()


def test_dark_is_dark(visitor: Visitor) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = visitor.visit(color_scheme="dark").evaluate(paper)
    light = visitor.visit(color_scheme="light").evaluate(paper)
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 150
    assert sum(map(int, re.findall(r"\d+", light)[:3])) > 600


def test_what_a_hostile_card_says_is_text(visitor: Visitor) -> None:
    page = visitor.visit(PAGES["hostile"])
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.locator(".lead")).to_contain_text("<img src=x onerror=alert(2)>")
    expect(page.locator(".lead")).to_contain_text("{{7*7}}")
    expect(page.locator(".lead")).to_contain_text(INJECTION)
    for path in (
        PAGES["hostile"],
        "/",
        f"{PAGES['hostile']}/card",
        f"{PAGES['hostile']}/try?skill=x&example=0",
    ):
        page.goto(path)
        assert page.locator("main img, main script, main style, [onerror], [onclick], [style]").count() == 0
        for link in page.locator("a").all():
            address = str(link.get_attribute("href"))
            assert address.startswith(("/", "#", "https://example.com/"))
            if not address.startswith(("/", "#")):
                assert "noopener" in str(link.get_attribute("rel"))
    expect(page.get_by_label("Message")).to_have_value("</textarea><script>alert(6)</script>")
    page.get_by_role("link", name="hx-partial").click()
    expect(page.get_by_label("Message")).to_have_value("<hx-partial hx-target='body'>gone</hx-partial>")
    page.goto("/")
    page.get_by_label("Search agents").press_sequentially("alert", delay=20)
    expect(page.locator("#count")).to_contain_text("for “alert”")


def test_a_prompts_versions_and_labels_are_seen_and_its_text_is_text(visitor: Visitor) -> None:
    page = visitor.visit("/prompts?text=planner")
    page.get_by_role("link", name="planner-system").click()
    expect(page.locator("pre")).to_contain_text("<b>Be brief.</b>")
    expect(page.locator(".facts")).to_contain_text("production")
    page.get_by_role("link", name="1.0.0").click()
    expect(page.locator("pre")).to_have_text("Plan for {{repo}}.")


def test_an_mcp_servers_tools_are_seen_as_text(visitor: Visitor) -> None:
    page = visitor.visit("/mcp?text=read")
    page.get_by_role("link", name="io.example.team/files").click()
    expect(page.get_by_role("heading", name="read_file")).to_be_visible()
    expect(page.get_by_text("Reads <i>any</i> file")).to_be_visible()
    page.get_by_text("Input", exact=True).click()
    expect(page.get_by_label("Input of read_file")).to_contain_text('"path"')
    expect(page.get_by_label("How it is started")).to_contain_text("npx")


def test_an_agents_rollout_says_which_version_gets_how_much(visitor: Visitor, here: World) -> None:
    table = [
        {"version": "1.1.0", "state": "Current", "weight": 90},
        {"version": "1.0.0", "state": "Ramping", "weight": 10},
    ]
    told = {"versions": table, "expected": 0}
    httpx.put(f"{here.url}/v1/agents/coder/rollout", json=told, trust_env=False).raise_for_status()
    page = visitor.visit("/agents/public/coder")
    expect(page.get_by_role("row", name=re.compile("1.1.0 Current"))).to_contain_text("90 %")
    expect(page.get_by_role("row", name=re.compile("1.0.0 Ramping"))).to_contain_text("10 %")
    assert faults(page) == []


def test_an_agents_history_says_what_became_of_it(visitor: Visitor) -> None:
    page = visitor.visit("/agents/public/coder/1.0.0")
    page.get_by_role("link", name="History").click()
    expect(page.locator(".trail li")).to_contain_text(["1.1.0", "1.0.0"])


def test_without_javascript_it_can_be_browsed_all_the_same(visitor: Visitor) -> None:
    page = visitor.visit(java_script_enabled=False)
    page.get_by_label("Search agents").fill("coder")
    page.get_by_role("button", name="Search").click()
    assert names(page)[0] == "coder"
    page.locator(".filters summary").click() if not page.locator(".facet").first.is_visible() else None
    page.get_by_role("link", name=re.compile("^git")).click()
    assert "text=coder" in page.url
    assert "tag=git" in page.url
    page.get_by_role("link", name="coder", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("coder")


def test_pages_are_light(here: World) -> None:
    with httpx.Client(base_url=here.url, trust_env=False) as http:
        http.get("/")
        for path in PAGES.values():
            size = len(http.get(path, follow_redirects=True).content)
            assert size < 60_000, path
        loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', http.get("/").text)
        ours = [path for path in loaded if "htmx" not in path and "hx-sse" not in path]
        assert sum(len(http.get(path).content) for path in ours) < 30_000


@pytest.mark.slow
def test_an_open_page_says_when_nobody_answers_and_goes_on_when_somebody_does(
    visitor: Visitor, tmp_path: Path
) -> None:
    port = free_port()
    with RegistryProcess(tmp_path / "r.db", port=port) as registry:
        World(registry.url).publish(card_json("steady"))
        page = visitor.visit(f"{registry.url}/")
        expect(page.locator("#count")).to_have_text("1 agent")
    expect(page.locator("#away")).to_contain_text("does not answer")
    assert names(page) == ["steady"]
    with RegistryProcess(tmp_path / "r.db", port=port) as registry:
        World(registry.url).publish(card_json("further"))
        expect(page.locator("#count")).to_have_text("2 agents")
        expect(page.locator("#away")).to_be_empty()
        page.get_by_role("link", name="further", exact=True).click()
        httpx.delete(f"{registry.url}/v1/agents/further", trust_env=False).raise_for_status()
        expect(page.get_by_role("heading", name="Not Found")).to_be_visible()
    visitor.complaints.clear()
    visitor.foreign.clear()


def test_who_must_sign_in_does_so_once(browser: Browser, tmp_path: Path) -> None:
    guarded = Guarded(tmp_path)
    with RegistryThread(tmp_path / "r.db", **guarded.settings) as registry:
        found = Visitor(browser, registry.url)
        page = found.visit("/?tag=python", viewport={"width": 320, "height": 640}, color_scheme="dark")
        expect(page).to_have_title(re.compile("Sign in"))
        assert faults(page) == []
        assert overflow(page) <= 0
        page.get_by_label("Token").fill(guarded.token())
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{registry.url}/?tag=python")
        assert faults(page) == []
        with page.expect_response(lambda answer: "seen=" in answer.url) as asked:
            pass
        assert asked.value.status == 204, "an open page goes on asking, signed in"
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_title(re.compile("Sign in"))
        found.leave()
        assert found.complaints == []
