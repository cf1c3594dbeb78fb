"""What the team's agents hand to each other: typed artifacts in standard formats where one exists.

| artifact | media type of its part(s) |
|---|---|
| repository snapshot | application/x-git-bundle |
| plan | application/vnd.parley.plan+json |
| change | application/x-git-bundle, text/x-diff, application/vnd.parley.change+json |
| findings | application/sarif+json (SARIF 2.1.0; verdict in run properties) |
| test result | application/xml (JUnit), application/vnd.parley.tests+json |

A request to an agent is one Message: a text part for people, a data part of media type
`application/vnd.parley.request+json` (a `StepRequest`), and the bundles it refers to as raw or url parts whose
`filename` is `<commit>.bundle`. An answer is a Task with one artifact of the kinds above.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

GIT_BUNDLE = "application/x-git-bundle"
DIFF = "text/x-diff"
PLAN = "application/vnd.parley.plan+json"
CHANGE = "application/vnd.parley.change+json"
REQUEST = "application/vnd.parley.request+json"
TESTS = "application/vnd.parley.tests+json"
SARIF = "application/sarif+json"
JUNIT = "application/xml"
MARKDOWN = "text/markdown"

SKILL_PLAN = "plan-change"
SKILL_EDIT = "edit-code"
SKILL_REVIEW = "review-change"
SKILL_TEST = "run-tests"
SKILL_DELIVER = "deliver-change"
"""The skill of the orchestrator itself: a task and a repository in, a verified change out."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class Commit(_Model):
    """A point in a repository's history, carried by a bundle part named `<commit>.bundle`.

    `prerequisite` is the commit a receiver must already have, or "" for a bundle that stands alone.
    """

    commit: str = Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")
    prerequisite: str = ""


class PlanStep(_Model):
    """One step of a plan: which skill does it, what it is told, what it waits for, when it is done."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    title: str
    skill: str
    instructions: str
    needs: list[str] = []
    inputs: dict[str, Any] = {}
    acceptance: list[str] = []


class Plan(_Model):
    """A directed acyclic graph of steps towards a goal. `engine` says what made it ("rules", …)."""

    goal: str
    summary: str = ""
    engine: str
    steps: list[PlanStep]
    notes: list[str] = []


class Feedback(_Model):
    """What a reviewer or a tester wants different, for the next round of an edit step."""

    source: Literal["review", "tests", "client"]
    text: str
    findings: list[dict[str, Any]] = []


class StepRequest(_Model):
    """What one agent asks of another. `base` is the snapshot to work on; `change` the commit under judgement."""

    goal: str
    step: PlanStep
    base: Commit | None = None
    change: Commit | None = None
    round: int = 1
    feedback: list[Feedback] = []
    options: dict[str, Any] = {}


class FileChange(_Model):
    path: str
    added: int
    removed: int


class Change(_Model):
    """What an edit step made: `commit` on top of `base` (equal when nothing was to be changed)."""

    step: str
    base: str
    commit: str
    title: str
    summary: str
    engine: str
    files: list[FileChange] = []
    rules: list[str] = []
    """Identifiers of what was applied (ruff rules such as UP006)."""
    withheld: list[str] = []
    """What was left out because of feedback, with why."""


class TestCase(_Model):
    """One test by its JUnit identity (`classname::name`) and how it went on the base and on the change."""

    __test__ = False
    id: str
    base: Literal["passed", "failed", "error", "skipped", "absent", "unknown"]
    change: Literal["passed", "failed", "error", "skipped", "absent", "unknown"]
    message: str = ""


class TestReport(_Model):
    """The judgement of a change by the repository's own tests. `verdict` "no-tests" accepts nothing and breaks nothing."""

    __test__ = False
    verdict: Literal["passed", "broken", "no-tests", "could-not-run"]
    summary: str
    sandbox: str
    command: list[str] = []
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: list[TestCase] = []
    fixed: list[TestCase] = []
    flaky: list[TestCase] = []
    still_failing: list[TestCase] = []
    seconds: float = 0.0


class Verdict(_Model):
    """The reviewer's word, also found as `runs[0].properties.parley` of its SARIF."""

    verdict: Literal["approve", "request-changes"]
    summary: str
    findings: int = 0
    suppressed: int = 0
