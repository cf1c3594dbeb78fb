"""What a goal in words asks of an engine that works by rules."""

import re
from dataclasses import dataclass

from parley_agents.project import Project
from parley_agents.ruff import expand
from parley_agents.rulegroups import FORMAT, GROUPS, Group

_GENERAL = re.compile(
    r"\b(lint\w*|clean(ing)?[- ]?up|clean (the )?code|tidy\w*|code quality|quality|moderni[sz]\w*|best practices?|"
    r"code ?style|warnings?|housekeeping|chores?|code smells?|code health|ruff|"
    r"(improve|polish|update) (the |this |my )?(code|repo|repository|project|package|library))\b",
    re.I,
)
_FORMAT = re.compile(r"\b(re)?format(ting|ted)?\b|\bblack\b|code ?style", re.I)
_ONLY_FORMAT = re.compile(r"code ?style", re.I)
_TESTS = re.compile(r"\b(in|including|also|and) (the )?tests?\b|\btests? (too|as well|included)\b", re.I)
_ONLY = re.compile(r"\b(only|just|nothing but|solely)\b", re.I)
_UNSAFE = re.compile(r"\bunsafe( fixes)?\b", re.I)
_BEYOND = re.compile(
    r"\b(add|implement|create|introduce|build|write|develop|support|port|migrate|translate|rename|redesign|rewrite|"
    r"document|explain|optimi[sz]e|speed|feature|endpoint|api|bug #|issue #|crash|security|vulnerab)\w*",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be done. `groups` in order of application; none and no `format`: rules cannot do it."""

    groups: tuple[Group, ...]
    format: bool
    tests: bool
    unsafe: bool
    notes: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether there is anything that rules can do about the goal."""
        return bool(self.groups) or self.format


def understand(goal: str, project: Project, known: tuple[str, ...]) -> Intent:
    """Read a goal. Named groups are taken as named; a goal about quality in general means the default ones."""
    text = goal.lower()
    ids = [group for group in GROUPS if re.search(rf"\b{group.id}\b", text)]
    named = ids or [group for group in GROUPS if any(re.search(word, text) for word in group.words)]
    wants_format = bool(_FORMAT.search(goal))
    general = bool(_GENERAL.search(goal))
    notes = []
    # "Fix unused imports" names its group; "modernise and drop what is unused" means everything that is safe.
    specific = bool(named) and (not general or bool(_ONLY.search(goal)))
    if specific:
        groups = named
    elif general and not (wants_format and not named and _ONLY_FORMAT.search(goal)):
        groups = [
            group for group in GROUPS if group.default or group in named or _chosen(group, project, known)
        ]
    else:
        groups = []
    beyond = _BEYOND.search(goal)
    possible = bool(groups) or wants_format
    if beyond and possible:
        notes.append(
            f"the goal also speaks of something rules cannot do ({beyond[0]!r}): only the mechanical part is planned"
        )
    if any(group.id == "modern-syntax" for group in groups):
        groups = [group for group in groups if group.id != "type-hints"]
    return Intent(
        groups=tuple(groups),
        format=wants_format or (general and possible and not specific and project.formats),
        tests=wants_tests(goal) or any(group.tests for group in groups),
        unsafe=bool(_UNSAFE.search(goal)),
        notes=tuple(notes),
    )


def wants_tests(goal: str) -> bool:
    """Whether a goal says that tests may be changed too."""
    asked = any(re.search(word, goal.lower()) for group in GROUPS if group.tests for word in group.words)
    return asked or bool(_TESTS.search(goal))


def _chosen(group: Group, project: Project, known: tuple[str, ...]) -> bool:
    """Whether the project itself has selected rules of a group that nobody gets by default."""
    if group.tests:
        return False
    return bool(set(expand(group.rules, (), known)) & set(expand(project.selected, (), known)))


def cannot(goal: str) -> str:
    """What to answer when rules cannot do it."""
    offered = ", ".join([*(group.id for group in GROUPS), FORMAT])
    return (
        f"This team works by rules, without a model, and cannot do “{' '.join(goal.split())[:200]}”. "
        f"It can improve code mechanically: say for example “modernise and fix lint”, or name any of: {offered}."
    )
