"""SemVer 2.0.0: what is a version, which is higher, which becomes latest."""

import pytest

from parley_registry.versions import becomes_latest, highest_first, is_version


def test_versions_are_ordered_by_semver_with_pre_releases_before_their_release() -> None:
    example = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.9.0 1.10.0"
    assert highest_first(sorted(example.split())) == example.split()[::-1]


@pytest.mark.parametrize(
    "text",
    ["1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "", "1.0.0-01", "1٠.0.0", "1.0.0+" + "x" * 80],
)
def test_other_texts_are_no_versions(text: str) -> None:
    assert not is_version(text)


@pytest.mark.parametrize(
    ("new", "others", "becomes"),
    [
        ("1.0.0", [], True),
        ("1.0.1", ["1.0.0"], True),
        ("1.0.0", ["1.0.1"], False),
        ("2.0.0-rc.1", ["1.0.0"], False),
        ("1.0.0-rc.2", ["1.0.0-rc.1"], True),
        ("1.0.0", ["2.0.0-rc.1"], True),
    ],
)
def test_a_release_higher_than_all_releases_becomes_latest(
    new: str, others: list[str], becomes: bool
) -> None:
    assert becomes_latest(new, others) is becomes
