"""An agent is tried from its page: a real host at the other end, its output as it comes."""

import re

import pytest
from browser import Visitor, faults, overflow
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.processes]

TRY = "/agents/public/full/1.0.0/try"


def send(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def test_output_is_shown_while_the_task_still_runs_and_a_reload_takes_it_up_again(visitor: Visitor) -> None:
    page = visitor.visit(TRY)
    send(page, "count 16 250")
    expect(page).to_have_url(re.compile("/tasks/"))
    said = page.locator("#artifacts pre")
    expect(said).to_have_text(re.compile("^012"))
    expect(page.locator("#state")).to_have_text("working")
    address = page.url
    page.reload()
    expect(said).to_have_text(re.compile("^012345"))
    expect(page.locator("#state")).to_have_text("working")
    expect(said).to_have_text("".join(str(n) for n in range(16)))
    expect(page.locator("#state")).to_have_text("completed")
    assert page.url == address
    assert page.locator("#task-id").inner_text() in address
    expect(page.get_by_role("link", name="Send another message")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel the task")).to_have_count(0)


def test_who_stops_watching_does_not_stop_the_task_and_can_come_back(visitor: Visitor) -> None:
    page = visitor.visit(TRY)
    send(page, "count 10 250")
    expect(page.locator("#artifacts pre")).to_have_text(re.compile("^01"))
    page.get_by_role("link", name="Stop watching").click()
    expect(page.get_by_text("The task goes on under its id")).to_be_visible()
    seen = page.locator("#artifacts pre").inner_text()
    page.get_by_role("link", name="Watch it").click()
    expect(page.locator("#artifacts pre")).to_have_text("0123456789")
    assert len(seen) < 10
    expect(page.locator("#state")).to_have_text("completed")


def test_a_task_is_cancelled_when_it_is_asked_for(visitor: Visitor) -> None:
    page = visitor.visit(TRY)
    send(page, "wait")
    expect(page.locator("#state")).to_have_text("working")
    assert faults(page) == []
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.locator("#state")).to_have_text("canceled")


def test_a_question_of_the_agent_is_answered_on_the_page(visitor: Visitor) -> None:
    page = visitor.visit(TRY, viewport={"width": 320, "height": 640})
    send(page, "ask")
    expect(page.locator("#state")).to_contain_text("input required")
    expect(page.locator("#state")).to_contain_text("which?")
    assert overflow(page) <= 0
    task = page.locator("#task-id").inner_text()
    page.get_by_label("Your answer").fill("echo <b>that</b>")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator("#state")).to_have_text("completed")
    expect(page.locator("#artifacts pre")).to_have_text("echo <b>that</b>")
    assert page.locator("#task-id").inner_text() == task


def test_an_answer_that_is_a_message_is_shown_as_text(visitor: Visitor) -> None:
    page = visitor.visit(TRY)
    send(page, "message <script>alert(1)</script>")
    expect(page.get_by_role("heading", name="Answer")).to_be_visible()
    expect(page.locator("pre").last).to_have_text("<script>alert(1)</script>")
    assert faults(page) == []


def test_json_is_sent_as_data_and_both_bindings_can_be_chosen(visitor: Visitor) -> None:
    page = visitor.visit(TRY)
    page.get_by_label("as").select_option("application/json")
    rest = page.get_by_label("by").locator("option", has_text="HTTP+JSON 1.0").get_attribute("value")
    page.get_by_label("by").select_option(rest)
    send(page, '{"a": [1, "<i>"]}')
    expect(page.locator("#state")).to_have_text("completed")
    expect(page.locator("#artifacts pre")).to_contain_text('"<i>"')
    assert f"via={rest}" in page.url


def test_what_goes_wrong_is_told_and_the_text_is_kept(visitor: Visitor) -> None:
    page = visitor.visit(TRY)
    page.get_by_label("as").select_option("application/json")
    send(page, "not json")
    expect(page.get_by_role("alert")).to_contain_text("not valid JSON")
    expect(page.get_by_label("Message")).to_have_value("not json")
    page.get_by_label("as").select_option("text/plain")
    send(page, "refuse nothing of that kind")
    expect(page.get_by_role("alert")).to_contain_text("The agent refused: nothing of that kind")
    assert faults(page) == []
    page.goto("/agents/public/coder/1.1.0/try")
    send(page, "hello")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    assert all("status of 40" in one or "status of 50" in one for one in visitor.complaints)
    visitor.complaints.clear()


def test_a_failed_task_says_why(visitor: Visitor) -> None:
    page = visitor.visit(TRY)
    send(page, "fail it was too hard")
    expect(page.locator("#state")).to_contain_text("failed")
    expect(page.locator("#state")).to_contain_text("it was too hard")


def test_without_javascript_a_task_is_seen_by_looking_again(visitor: Visitor) -> None:
    page = visitor.visit(TRY, java_script_enabled=False)
    send(page, "count 3 300")
    expect(page).to_have_url(re.compile("/tasks/"))
    for _ in range(20):
        if page.locator("#state").inner_text().strip() == "completed":
            break
        page.wait_for_timeout(200)
        page.reload()
    expect(page.locator("#artifacts pre")).to_have_text("012")
