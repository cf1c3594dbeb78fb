"""What a Kopf operator costs that does nothing but patch a status: `kopf run` this. It posts no events of its own."""

from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Leave out what is not the status."""
    settings.posting.enabled = False
    settings.peering.standalone = True


@kopf.on.create("parley.dev", "v1alpha1", "agents")
async def created(patch: kopf.Patch, **_: Any) -> None:
    """Say that it was seen."""
    patch.status["phase"] = "Ready"
