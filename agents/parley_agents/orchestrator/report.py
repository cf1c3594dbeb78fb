"""report.md: what was asked, what came of it, and what stands behind it."""

import re
from collections.abc import Mapping, Sequence

from parley_agents.artifacts import Plan, TestReport
from parley_agents.orchestrator.deliver import Delivery, title
from parley_agents.orchestrator.loop import Outcome
from parley_agents.orchestrator.relay import Child

MAX_ROWS = 200
_WORDS = {
    "accepted": "done",
    "unchanged": "nothing to change",
    "done": "done",
    "dropped": "taken back",
    "skipped": "skipped",
}


_TAKE_OVER = [
    "## Taking it over",
    "",
    "In your repository, with the folder of this report for `FOLDER`:",
    "",
    "- as a patch: `git apply FOLDER/change.patch`",
    "- as commits, one a step: `git fetch FOLDER/change.bundle parley`, then `git merge FETCH_HEAD`",
    "",
]


def report(
    goal: str,
    plan: Plan,
    delivery: Delivery,
    statistics: Sequence[tuple[str, int, int]],
    children: Mapping[str, Child],
) -> str:
    """The report as Markdown. Words of children are quoted as text: they make no headings, tables or links."""
    lines = ["# Report", "", f"**Task:** {plain(goal)}", "", f"**Result:** {_result(delivery)}", ""]
    if delivery.doubts:
        lines += [
            "Why it does not count as verified:",
            "",
            *(f"- {plain(one)}" for one in delivery.doubts),
            "",
        ]
    if plan.summary:
        lines += [f"**Plan** ({plain(plan.engine)}): {plain(plan.summary)}", ""]
    lines += ["## Steps", "", "| step | what | result | rounds | why |", "|---|---|---|---|---|"]
    lines += [_row(one) for one in delivery.outcomes]
    if not delivery.outcomes:
        lines.append("| – | the plan has no steps | | | |")
    lines += ["", *_left_out(delivery), *_withheld(delivery), *_changed(statistics), *_checks(delivery)]
    if not delivery.empty:
        lines += _TAKE_OVER
    if plan.notes:
        lines += ["## Notes of the planner", "", *(f"- {plain(one)}" for one in plan.notes), ""]
    lines += _who(children)
    return "\n".join(lines).rstrip() + "\n"


def headline(delivery: Delivery) -> str:
    """What is delivered, in one sentence; whether it counts as verified is said beside it."""
    if delivery.empty:
        return "nothing to change" if delivery.verified else "nothing could be kept, so the patch is empty"
    count, left = len(delivery.accepted), len(delivery.left_out)
    text = f"{count} step{'s' if count != 1 else ''} delivered"
    return f"{text}, {left} left out" if left else text


def _result(delivery: Delivery) -> str:
    if delivery.empty and delivery.verified:
        return f"{headline(delivery)}; the patch is empty"
    return f"{'verified' if delivery.verified else 'NOT verified'}: {headline(delivery)}"


def _row(outcome: Outcome) -> str:
    what = plain(title(outcome.change, outcome.step.title), 120)
    return (
        f"| `{outcome.step.id}` | {what} | {_WORDS[outcome.what]} | {outcome.rounds or ''} "
        f"| {plain(outcome.reason, 300)} |"
    )


def _left_out(delivery: Delivery) -> list[str]:
    if not delivery.left_out:
        return []
    rows = [f"- `{one.step.id}` ({_WORDS[one.what]}): {plain(one.reason, 2000)}" for one in delivery.left_out]
    return ["## Left out", "", *rows, ""]


def _withheld(delivery: Delivery) -> list[str]:
    rows = [
        f"- `{one.step.id}`: {plain(text, 500)}"
        for one in delivery.accepted
        if one.change
        for text in one.change.withheld[:MAX_ROWS]
    ]
    return ["## Held back within steps", "", *rows, ""] if rows else []


def _changed(statistics: Sequence[tuple[str, int, int]]) -> list[str]:
    if not statistics:
        return []
    rows = [f"| {_code(path)} | +{added} | -{removed} |" for path, added, removed in statistics[:MAX_ROWS]]
    if len(statistics) > MAX_ROWS:
        rows.append(f"| … and {len(statistics) - MAX_ROWS} more | | |")
    return ["## Files", "", "| file | added | removed |", "|---|---|---|", *rows, ""]


def _checks(delivery: Delivery) -> list[str]:
    lines = ["## Final check", ""]
    judgement = delivery.judged.judgement
    if judgement.tests:
        lines.append(f"- Tests: {_tests(judgement.tests)}")
    if judgement.review:
        review = judgement.review
        lines.append(f"- Review: {review.verdict}: {plain(review.summary, 1000)}")
    lines += [f"- {plain(one)}" for one in judgement.missing]
    return [*lines, ""] if len(lines) > 2 else []


def _code(path: str) -> str:
    """A path in a table's cell, as it is typed."""
    name = "".join(c if c.isprintable() else "?" for c in path)
    return plain(path, 300) if "`" in name or "|" in name else f"`{name}`"


def _tests(tests: TestReport) -> str:
    counts = f"{tests.passed} passed, {tests.failed} failed, {tests.skipped} skipped"
    text = f"{tests.verdict}: {plain(tests.summary, 1000) or counts}"
    text += f" (in {tests.seconds:.1f} s, sandbox: {plain(tests.sandbox, 100)})"
    for name, cases in (
        ("broken", tests.broken),
        ("fixed", tests.fixed),
        ("flaky", tests.flaky),
        ("failing before and after", tests.still_failing),
    ):
        if cases:
            shown = ", ".join(plain(case.id, 200) for case in cases[:20])
            more = f" and {len(cases) - 20} more" if len(cases) > 20 else ""
            text += f"\n  - {name}: {shown}{more}"
    return text


def _who(children: Mapping[str, Child]) -> list[str]:
    if not children:
        return []
    lines = ["## Who did what", "", "| step | role | agent | round | state |", "|---|---|---|---|---|"]
    for child in children.values():
        state = child.state.removeprefix("TASK_STATE_").lower()
        agent = f"{plain(child.agent, 80)} {plain(child.version, 40)}"
        lines.append(f"| `{child.step}` | {plain(child.role, 80)} | {agent} | {child.round} | {state} |")
    return [*lines, ""]


_MARKUP = re.compile(
    r"[\\`*<|]"  # code, emphasis, HTML, tables
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word an underscore is only itself
    r"|\](?=[\[(:])"  # links
    r"|~(?=~)|^[#>+=-]"
)


def plain(text: str, limit: int = 4000) -> str:
    """Foreign words as one line of text: no markup, no control characters, not endless."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(words) > limit:
        words = words[: limit - 1].rstrip() + "…"
    return _MARKUP.sub(r"\\\g<0>", words)
