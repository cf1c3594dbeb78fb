"""Versions of an agent: SemVer 2.0.0, its order, and which version is latest."""

from collections.abc import Iterable

from semver import Version

MAX_VERSION = 64
"""Longest version, in characters."""


def is_version(text: str) -> bool:
    """Whether `text` is a version by SemVer 2.0.0 (`1.2.3`, `1.2.3-rc.1`, `1.2.3+build.7`; no leading `v`)."""
    return len(text) <= MAX_VERSION and text.isascii() and Version.is_valid(text)


def is_release(version: str) -> bool:
    """Whether a valid version is a release, not a pre-release."""
    return "-" not in version.partition("+")[0]


def highest_first(versions: Iterable[str]) -> list[str]:
    """Versions by SemVer precedence, highest first; build metadata, which has none, decides between equals. What others
    call a version without SemVer comes last."""
    return sorted(
        versions,
        key=lambda text: (1, Version.parse(text), text) if is_version(text) else (0, text),
        reverse=True,
    )


def becomes_latest(new: str, others: Iterable[str]) -> bool:
    """Whether publishing `new` beside `others` makes it the latest version.

    A release does when it is higher than every other release; a pre-release only while there is no release
    and it is the highest. So a roll back holds until something newer than all is released.
    """
    fresh = Version.parse(new)
    parsed = [Version.parse(other) for other in others if is_version(other)]
    releases = [other for other in parsed if not other.prerelease]
    if fresh.prerelease:
        return not releases and all(fresh > other for other in parsed)
    return all(fresh > other for other in releases)
