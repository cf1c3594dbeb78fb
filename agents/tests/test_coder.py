"""The coder does what its step says, leaves tests alone, and takes back what feedback is about."""

from pathlib import Path

import pytest
from repositories import repository, sh
from workmaker import step, work_on

from parley_agents.artifacts import Feedback
from parley_agents.coder.rules import Made, RulesCoder
from parley_agents.coder.tidy import close_gaps
from parley_agents.role import Rejected
from parley_agents.snapshot import Snapshot, snapshot
from parley_agents.workspace import open_workspace

UNUSED = "import os\n\nx = 'a' == __name__\n"
FILES = {"a.py": UNUSED, "b.py": UNUSED, "tests/test_a.py": UNUSED, "api_pb2.py": UNUSED}


@pytest.fixture
async def taken(tmp_path: Path) -> Snapshot:
    return await snapshot(repository(tmp_path / "r", FILES))


async def edit(taken: Snapshot, *feedback: Feedback, **inputs: object) -> Made:
    request = work_on(
        taken.commit, taken.bundle, step=step(**inputs), feedback=list(feedback), round=1 + len(feedback)
    )
    return await RulesCoder().edit(request)


def changed(made: Made) -> list[str]:
    return [file.path for file in made.change.files]


def broken_test(**case: str) -> Feedback:
    return Feedback(source="tests", text="1 broken", findings=[{"id": "t::x", "message": "", **case}])


async def test_a_change_is_a_bundle_and_a_diff_on_its_base_and_a_summary(
    taken: Snapshot, tmp_path: Path
) -> None:
    made = await edit(taken, rules=["F401"], files=["a.py"])
    assert changed(made) == ["a.py"]
    assert (made.change.rules, made.change.engine, made.change.base) == (["F401"], "rules", taken.commit)
    async with open_workspace(made.change.commit, [taken.bundle, made.bundle]) as work:
        assert (work.path / "a.py").read_text() == "x = 'a' == __name__\n"
        assert await work.applies(made.diff.decode(), taken.commit)
        assert (
            await work.git("log", "-1", "--format=%an <%ae> %ad", "--date=short")
            == b"Parley <parley@localhost> 2001-01-01\n"
        )


async def test_the_same_step_gives_the_same_commit(taken: Snapshot) -> None:
    one, two = await edit(taken, rules=["F401"]), await edit(taken, rules=["F401"])
    assert one.change == two.change
    assert one.bundle == two.bundle


async def test_tests_and_generated_files_are_read_only_even_if_named(taken: Snapshot) -> None:
    made = await edit(taken, rules=["F401"], files=["a.py", "tests/test_a.py", "api_pb2.py"])
    assert changed(made) == ["a.py"]
    assert made.change.withheld == [
        "api_pb2.py: not a file to edit here",
        "tests/test_a.py: a test, and the step does not let tests be written",
    ]
    made = await edit(taken, rules=["F401"], files=["tests/test_a.py"], tests="writable")
    assert changed(made) == ["tests/test_a.py"]


async def test_nothing_to_change_is_the_base_itself(taken: Snapshot) -> None:
    made = await edit(taken, rules=["W291"])
    assert (made.change.commit, made.bundle, made.diff) == (taken.commit, b"", b"")


async def test_a_step_in_words_is_done_when_it_names_a_group(taken: Snapshot) -> None:
    request = work_on(
        taken.commit, taken.bundle, step=step().model_copy(update={"title": "Remove unused imports"})
    )
    made = await RulesCoder().edit(request)
    assert (changed(made), made.change.rules) == (["a.py", "b.py"], ["F401"])


@pytest.mark.parametrize(
    "inputs",
    [{}, {"rules": "F401"}, {"rules": [1]}, {"rules": ["--config=x"]}, {"rules": ["F401"], "files": "a.py"}],
)
async def test_a_step_that_is_not_for_rules_is_rejected_with_what_to_send(
    taken: Snapshot, inputs: dict[str, object]
) -> None:
    with pytest.raises(Rejected, match=r"rules|paths"):
        await edit(taken, **inputs)


async def test_files_named_by_a_review_are_left_as_they_were(taken: Snapshot) -> None:
    place = {"physicalLocation": {"artifactLocation": {"uri": "a.py"}}}
    made = await edit(
        taken, Feedback(source="review", text="F821", findings=[{"locations": [place]}]), rules=["F401"]
    )
    assert changed(made) == ["b.py"]
    assert made.change.withheld == ["a.py: named by review: F821"]


async def test_files_in_the_traceback_of_a_broken_test_are_left_as_they_were(taken: Snapshot) -> None:
    made = await edit(taken, broken_test(message="/repo/b.py:3: NameError"), rules=["F401"])
    assert changed(made) == ["a.py"]


async def test_the_file_a_broken_test_is_named_for_is_left_as_it_was(taken: Snapshot) -> None:
    made = await edit(taken, broken_test(id="tests.test_b::test_x"), rules=["F401"])
    assert changed(made) == ["a.py"]


async def test_without_a_hint_half_of_the_rules_then_half_of_the_files_then_all_is_withheld(
    taken: Snapshot,
) -> None:
    said = broken_test()
    one = await edit(taken, said, rules=["F401", "SIM300"])
    assert (one.change.rules, changed(one)) == (["F401"], ["a.py", "b.py"])
    two = await edit(taken, said, said, rules=["F401", "SIM300"])
    assert (two.change.rules, changed(two)) == (["F401"], ["a.py"])
    three = await edit(taken, said, said, said, rules=["F401", "SIM300"])
    assert three.change.commit == taken.commit
    assert [line.split(":")[0] for line in three.change.withheld] == ["SIM300", "b.py", "the whole step"]


@pytest.mark.parametrize(
    ("words", "rules", "files", "withheld"),
    [
        ("I do not like it", ["F401", "SIM300"], ["a.py", "b.py"], []),
        ("leave b.py alone", ["F401", "SIM300"], ["a.py"], ["b.py"]),
        ("without SIM300", ["F401"], ["a.py", "b.py"], ["SIM300"]),
        ("neither F401 nor SIM300", [], [], ["the whole step"]),
        ("not the tidy up step", [], [], ["the whole step"]),
    ],
)
async def test_a_client_has_left_out_what_it_names_and_nothing_else(
    taken: Snapshot, words: str, rules: list[str], files: list[str], withheld: list[str]
) -> None:
    asked = step("tidy-up", rules=["F401", "SIM300"])
    said = Feedback(source="client", text=words)
    made = await RulesCoder().edit(work_on(taken.commit, taken.bundle, step=asked, feedback=[said], round=2))
    assert (made.change.rules, changed(made)) == (rules, files)
    assert [line.split(":")[0] for line in made.change.withheld] == withheld


async def test_a_file_that_would_not_parse_any_more_is_withheld(
    taken: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty_fix(self: object, *args: object, **options: object) -> None:
        (self._root / "a.py").write_text("def (\n")  # type: ignore[attr-defined]
        (self._root / "b.py").write_text("x = 1\n")  # type: ignore[attr-defined]

    monkeypatch.setattr("parley_agents.ruff.Ruff.fix", faulty_fix)
    made = await edit(taken, rules=["F401"])
    assert changed(made) == ["b.py"]
    assert made.change.withheld == ["a.py: it did not parse any more after the fixes"]


@pytest.mark.parametrize(
    ("before", "after", "tidied"),
    [
        (
            '"""Doc."""\n\nimport os\n\nimport mine\n',
            '"""Doc."""\n\n\nimport mine\n',
            '"""Doc."""\n\nimport mine\n',
        ),
        (
            '"""Doc."""\n\nimport os\n\n\nclass A: ...\n',
            '"""Doc."""\n\n\n\nclass A: ...\n',
            '"""Doc."""\n\n\nclass A: ...\n',
        ),
        ("import os\n\nx = 1\n", "\nx = 1\n", "x = 1\n"),
        (
            "def f():\n    import os\n\n    return 1\n",
            "def f():\n\n    return 1\n",
            "def f():\n    return 1\n",
        ),
        ("x = 1\n\nimport os\n", "x = 1\n\n", "x = 1\n"),
        ("import os\nimport mine\n\n\n\nx = 1\n", "import mine\n\n\n\nx = 1\n", "import mine\n\n\n\nx = 1\n"),
        ("x = (\n\n1,\n\n)\n", "x = (\n\n\n)\n", "x = (\n\n)\n"),
        ("s = '''\n\na\n\n'''\n", "s = '''\n\n\n'''\n", "s = '''\n\n\n'''\n"),
        ("x = 1\n\nimport os\n\ny = (\n", "x = 1\n\n\ny = (\n", "x = 1\n\n\ny = (\n"),
    ],
)
def test_a_removed_line_leaves_no_gap_behind(before: str, after: str, tidied: str) -> None:
    assert close_gaps(before.encode(), after.encode()).decode() == tidied


async def test_files_in_other_encodings_survive(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", {"a.py": UNUSED})
    (repo / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nimport os\ns = 'é'\n".encode("latin-1"))
    sh("git", "add", "-A", cwd=repo)
    sh("git", "commit", "-qm", "latin", cwd=repo)
    taken = await snapshot(repo)
    made = await edit(taken, rules=["F401"])
    async with open_workspace(made.change.commit, [taken.bundle, made.bundle]) as work:
        assert b"'\xe9'" in (work.path / "latin.py").read_bytes()
        assert await work.applies(made.diff.decode("utf-8", "surrogateescape"), taken.commit)
