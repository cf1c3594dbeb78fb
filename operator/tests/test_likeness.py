"""Whether an object is as wanted already."""

from typing import Any

import pytest

from parley_operator.likeness import differences, hash_of, mark_of, marked


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2], "c": 3}}),
        (
            {"containers": [{"name": "x", "image": "i"}]},
            {"containers": [{"name": "injected"}, {"name": "x", "image": "i", "pullPolicy": "Always"}]},
        ),
        ({"finalizers": ["ours"]}, {"finalizers": ["theirs", "ours"]}),
        ({"ports": [{"port": 80}]}, {"ports": [{"port": 80, "protocol": "TCP"}]}),
        ({"egress": [], "labels": {}}, {}),
    ],
)
def test_what_others_and_the_server_added_is_no_difference(wanted: Any, live: Any) -> None:
    assert list(differences(wanted, live)) == []


@pytest.mark.parametrize(
    ("wanted", "live", "where"),
    [
        ({"a": 1}, {"a": 2}, ("a",)),
        ({"a": 1}, {}, ("a",)),
        ({"a": [1]}, {"a": [1, 2]}, ("a",)),
        ({"env": [{"name": "x", "value": "1"}]}, {"env": [{"name": "y", "value": "1"}]}, ("env", "x")),
        ({"finalizers": ["ours"]}, {"finalizers": ["theirs"]}, ("finalizers",)),
    ],
)
def test_what_is_not_as_wanted_is_named(wanted: Any, live: Any, where: tuple[str, ...]) -> None:
    assert [path for path, _ in differences(wanted, live)] == [where]


def test_a_hash_is_of_what_is_wanted_and_not_of_its_order() -> None:
    wanted = {"metadata": {"name": "a"}, "spec": {"x": 1, "y": 2}}
    again = {"spec": {"y": 2, "x": 1}, "metadata": {"name": "a"}}
    assert hash_of(wanted) == hash_of(again)
    assert mark_of(marked(wanted, hash_of(wanted))) == hash_of(wanted)
    assert mark_of(wanted) == ""
