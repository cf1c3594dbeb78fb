"""Prompts by themselves: what is taken, what is refused with every fault, and how text is made of them."""

from typing import Any

import pytest

from parley_registry.errors import NotRendered, PromptRejected
from parley_registry.prompts.check import MAX_HINTS, MAX_TEMPLATE, MAX_VARIABLES, check_prompt
from parley_registry.prompts.prompt import PromptVersion
from parley_registry.prompts.template import MAX_RENDERED


def prompt(template: str, **more: Any) -> PromptVersion:
    told = {"name": "review", "version": "1.0.0", "template": template, **more}
    return check_prompt(told, now=0.0)[0]


def faults(**told: Any) -> dict[str, str]:
    whole = {"name": "review", "version": "1.0.0", "template": "text", **told}
    with pytest.raises(PromptRejected) as refused:
        check_prompt(whole, now=0.0)
    return {fault.field: fault.message for fault in refused.value.faults}


def test_a_prompt_is_rendered_with_values_and_defaults() -> None:
    made = prompt(
        "As a {{ role }} review {{language}} code. {{note}}{{language}}!",
        variables=[{"name": "role", "default": "critic"}, {"name": "note", "required": False}],
    )
    assert made.render(language="Go") == "As a critic review Go code. Go!"
    assert (
        made.render({"language": "Go"}, role="friend", unused=object()) == "As a friend review Go code. Go!"
    )
    assert made.render(language=3) == "As a critic review 3 code. 3!"


def test_variables_that_nobody_declared_are_required() -> None:
    made = prompt("{{a}} {{b}} {{a}}", variables=[{"name": "b", "default": "x", "description": "the second"}])
    assert [(one.name, one.required, one.default) for one in made.variables] == [
        ("b", False, "x"),
        ("a", True, ""),
    ]


def test_every_missing_and_wrong_value_is_named_at_once() -> None:
    made = prompt("{{a}} {{b}} {{c}} {{d}}", variables=[{"name": "d", "default": ""}])
    with pytest.raises(NotRendered) as refused:
        made.render(b=None, c=["no"])
    assert "needs a, b, which have no value" in str(refused.value)
    assert "takes text or a number as c, not list" in str(refused.value)
    assert "d" not in str(refused.value).split("needs", 1)[1].split(",")[0]


def test_values_are_never_looked_at_again() -> None:
    made = prompt("Say {{a}} and {{b}}", variables=[{"name": "b", "default": "{{a}}"}])
    assert made.render(a="{{b}} {{a}} {% x %} ${y}") == "Say {{b}} {{a}} {% x %} ${y} and {{a}}"


def test_all_but_variables_is_text() -> None:
    text = 'Answer as {"ok": {"yes": true}} or {x}, {{{name}}}, $5, {% if %}, \\{ and €.'
    assert prompt(text).render(name="n") == text.replace("{{name}}", "n")


def test_what_would_grow_too_long_is_refused_before_it_is_made() -> None:
    made = prompt("{{a}}" * 1000)
    assert len(made.render(a="x" * 1000)) == 1_000_000
    with pytest.raises(NotRendered, match=f"at most {MAX_RENDERED}"):
        made.render(a="x" * 100_000_000)


@pytest.mark.parametrize(
    "tag", ["{{#each}}", "{{/each}}", "{{> partial}}", "{{a|upper}}", "{{a b}}", "{{}}", "{{!x}}"]
)
def test_logic_in_a_template_is_refused(tag: str) -> None:
    assert tag in faults(template=f"Do {tag} it")["template"]


def test_every_fault_is_named_at_once() -> None:
    found = faults(
        namespace="/",
        name="a b",
        version="v1",
        template="{{#x}} {{y}}",
        variables=[
            {"name": "z"},
            {"name": "1"},
            {"name": "y", "default": "", "required": True},
            3,
            {"nam": "q"},
        ],
        description="x" * 2000,
        hints=[],
        author=7,
        labels=["latest", "UPPER"],
        extra=1,
    )
    assert set(found) == {
        "namespace",
        "name",
        "version",
        "template",
        "variables",
        "variables[1].name",
        "variables[2].required",
        "variables[3]",
        "variables[4].nam",
        "variables[4].name",
        "description",
        "hints",
        "author",
        "labels[0]",
        "labels[1]",
        "extra",
    }
    assert found["variables"] == "declares 'z', which the template does not use"
    assert "1.2.3" in found["version"]


def test_sizes_are_bounded() -> None:
    assert prompt("x" * MAX_TEMPLATE)
    assert f"at most {MAX_TEMPLATE}" in faults(template="x" * (MAX_TEMPLATE + 1))["template"]
    assert f"at most {MAX_TEMPLATE}" in faults(template="é" * (MAX_TEMPLATE // 2 + 1))["template"]
    assert "at most" in faults(hints={"x": "y" * MAX_HINTS})["hints"]
    many = "".join(f"{{{{v{number}}}}}" for number in range(MAX_VARIABLES + 1))
    assert f"at most {MAX_VARIABLES}" in faults(template=many)["template"]
    assert "must not be empty" in faults(template="")["template"]


@pytest.mark.parametrize("told", [None, [], "text", 7])
def test_what_is_no_object_is_refused(told: object) -> None:
    with pytest.raises(PromptRejected):
        check_prompt(told, now=0.0)


def test_who_pushed_it_and_when_is_no_part_of_a_version() -> None:
    told = {"name": "review", "version": "1.0.0", "template": "x", "author": "ana"}
    first, _ = check_prompt(told, now=1.0)
    again, _ = check_prompt({**told, "author": "ben"}, now=2.0)
    other, _ = check_prompt({**told, "hints": {"model": "m"}}, now=1.0)
    assert first.digest == again.digest != other.digest
