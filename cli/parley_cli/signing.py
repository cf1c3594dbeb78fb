"""How the members of a platform sign their cards, and whom its registry believes."""

import os
from collections.abc import Mapping

from parley_cli.home import Home
from parley_core import signingkeys


def environment(home: Home) -> Mapping[str, str]:
    """What members are told: to sign with the platform's keys, which are made if there are none yet, and to trust them.
    What the user has said in the environment stays. Raises ConfigurationError."""
    told = {}
    if "PARLEY_SIGNING_KEYS" not in os.environ:
        signingkeys.ensure(home.signing_keys)
        told["PARLEY_SIGNING_KEYS"] = str(home.signing_keys)
    if "PARLEY_REGISTRY_TRUSTED_KEYS" not in os.environ:
        keys = os.environ.get("PARLEY_SIGNING_KEYS", str(home.signing_keys))
        told["PARLEY_REGISTRY_TRUSTED_KEYS"] = f"platform={keys}"
    return told
