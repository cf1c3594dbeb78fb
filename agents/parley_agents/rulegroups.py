"""The groups of ruff rules that the rules engine works with: what each is for, and in which order they go."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that make one step. `rules` are ruff selectors, `leave` those among them that are not applied.

    `words` are regular expressions for a goal that asks for the group; `default` groups belong to every goal
    about quality in general. `tests` groups change tests.
    """

    id: str
    title: str
    about: str
    rules: tuple[str, ...]
    words: tuple[str, ...]
    leave: tuple[str, ...] = ()
    default: bool = True
    tests: bool = False


FORMAT = "format"

GROUPS = (
    Group(
        "modern-syntax",
        "Modern syntax for the Python versions it supports",
        "Rewrite constructs that newer Python has a better form for (pyupgrade), never beyond the oldest Python supported.",
        ("UP",),
        (
            r"moderni[sz]",
            r"upgrad\w* (the )?(code|syntax|python)",
            r"pyupgrade",
            r"\bmodern python",
            r"f-?strings?",
            r"outdated syntax",
            r"legacy syntax",
        ),
    ),
    Group(
        "type-hints",
        "Current spelling of type hints",
        "Write type hints as current Python does (list[int], X | None), where the oldest Python supported knows it.",
        ("UP006", "UP007", "UP035", "UP037", "UP040", "UP045", "UP046", "UP047"),
        (
            r"(moderni[sz]\w*|upgrad\w*|updat\w*|current|new)[\w -]* (type[- ]?hints?|annotations?|typing)",
            r"type[- ]hints? upgrade",
            r"pep ?(585|604)",
        ),
        default=False,
    ),
    Group(
        "idioms",
        "Comparisons and statements in the usual form",
        "Fix comparisons, needless semicolons, empty f-strings, invalid escape sequences and the like.",
        (
            "E401",
            "E703",
            "E711",
            "E712",
            "E713",
            "E714",
            "E721",
            "E731",
            "W605",
            "F5",
            "F6",
            "F901",
            "PLR0402",
            "PLR1711",
        ),
        (r"idiom", r"comparisons?", r"lint", r"pep ?8", r"flake8", r"pycodestyle"),
    ),
    Group(
        "simplify",
        "Simpler expressions and comprehensions",
        "Simplify conditions, context managers, comprehensions and redundant calls.",
        ("SIM", "C4", "PIE", "FLY", "PERF"),
        (r"simplif", r"comprehension", r"readab", r"lint"),
        leave=("SIM905",),
    ),
    Group(
        "likely-bugs",
        "Likely bugs",
        "Fix patterns that often hide bugs (bugbear).",
        ("B",),
        (r"(likely|potential|hidden) bugs", r"bugbear", r"lint"),
    ),
    Group(
        "exceptions",
        "Exceptions raised and caught the usual way",
        "Remove needless parentheses and redundant handlers around exceptions.",
        ("RSE", "TRY203", "TRY201"),
        (r"exception style", r"redundant (except|handlers?)", r"lint"),
    ),
    Group(
        "ruff-rules",
        "ruff's own suggestions",
        "Apply ruff's own rules, without touching the order of names or suppressions.",
        ("RUF",),
        (r"\bruff\b", r"lint"),
        leave=("RUF001", "RUF002", "RUF003", "RUF005", "RUF022", "RUF023", "RUF100", "RUF101"),
    ),
    Group(
        "test-style",
        "Tests in pytest's style",
        "Write fixtures, parametrisation and assertions as pytest recommends.",
        ("PT",),
        (r"pytest[- ]style", r"test style", r"style of (the )?tests", r"moderni[sz]e (the )?tests"),
        default=False,
        tests=True,
    ),
    Group(
        "unused",
        "Unused imports and names",
        "Remove imports and bindings that nothing uses; re-exports stay.",
        ("F401", "F811", "F841"),
        (r"unused", r"dead (code|imports?)", r"(clean|tidy|remove|prune)\w*( up)?( the)? imports?", r"lint"),
    ),
    Group(
        "import-order",
        "Imports in order",
        "Sort imports.",
        ("I",),
        (r"isort", r"(sort|order|organi[sz]e|tidy)\w* (the |all )?imports?", r"imports? (sort|order)"),
        default=False,
    ),
    Group(
        "whitespace",
        "Whitespace",
        "Remove trailing whitespace, end files with one newline.",
        ("W291", "W292", "W293", "W391"),
        (r"white ?space", r"trailing", r"lint", r"pep ?8"),
    ),
)
"""In the order in which they are applied: what leaves things unused goes before what removes them."""

BY_ID = {group.id: group for group in GROUPS}
