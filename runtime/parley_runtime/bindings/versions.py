"""The protocol version of a call (section 3.6): `Major.Minor` decides, a patch number says nothing."""

import re

from a2a.utils.errors import VersionNotSupportedError

V1_0 = "1.0"
V0_3 = "0.3"

_VERSION = re.compile(r"(\d{1,5}\.\d{1,5})(?:\.\d{1,5})?")


def negotiate(asked: str) -> str:
    """V1_0 or V0_3, as the client asked; an empty value means 0.3. Raises VersionNotSupportedError."""
    asked = asked.strip()
    if not asked:
        return V0_3
    match = _VERSION.fullmatch(asked)
    if match and match[1] in (V1_0, V0_3):
        return match[1]
    raise VersionNotSupportedError(
        f"A2A version {asked[:40]!r} is not supported; send the A2A-Version {V1_0} (or {V0_3})"
    )


def require(version: str, expected: str) -> None:
    """Raises VersionNotSupportedError unless the call speaks the version its operation belongs to."""
    if version != expected:
        raise VersionNotSupportedError(
            f"This operation belongs to A2A {expected}, and the call says {version}; "
            f"send the header A2A-Version: {expected}"
        )
