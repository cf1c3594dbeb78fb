"""Names that a person could take for one another have a shape in common; others have not."""

import pytest

from parley_registry.names import shapes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("coder", "Coder"),
        ("coder", "ｃｏｄｅｒ"),
        ("coder", "c\u043eder"),
        ("coder", "\u0441\u043e\u0501\u0435r"),
        ("coder", "c0der"),
        ("coder", "co\u200dder"),
        ("agent-1", "agent-l"),
        ("agent-1", "agent-I"),
        ("AI", "Al"),
        ("modem", "modern"),
        ("web-search", "web\u2010search"),
        ("stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("测试", "测试"),
    ],
)
def test_these_look_alike(one: str, other: str) -> None:
    assert shapes(one) & shapes(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("coder", "coders"),
        ("coder", "decoder"),
        ("mail", "mall"),
        ("planner", "planer"),
        ("tester", "taster"),
        ("agent-1", "agent-2"),
        ("web-search", "web_search"),
        ("köder", "koder"),
        ("测试", "測試"),
    ],
)
def test_these_do_not(one: str, other: str) -> None:
    assert not shapes(one) & shapes(other)
