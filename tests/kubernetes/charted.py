"""The chart, as the real helm renders it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from engines.kubernetes.kubectl import Kubectl

PROJECT = Path(__file__).parents[2]
CHART = PROJECT / "charts" / "parley"
TRIAL, PRODUCTION = CHART / "values-trial.yaml", CHART / "values-production.yaml"

Object = dict[str, Any]


def template(
    kubectl: Kubectl, *files: Path, namespace: str = "parley", values: Mapping[str, object] | None = None
) -> list[Object]:
    """What `helm install parley` would make with these files of values and, over them, `values` (a.b=…). Raises EngineError with helm's words."""
    told = [word for file in files for word in ("--values", str(file))]
    told += [
        word for key, value in (values or {}).items() for word in ("--set-json", f"{key}={json.dumps(value)}")
    ]
    return [
        one
        for one in yaml.safe_load_all(
            kubectl.helm("template", "parley", str(CHART), "--namespace", namespace, *told)
        )
        if one
    ]


def only(objects: Sequence[Object], kind: str, name: str) -> Object:
    """The one of that kind and name."""
    (found,) = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pods(objects: Sequence[Object]) -> dict[str, Object]:
    """Specifications of all pods that come of these objects, by the name of what makes them."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in objects
        if one["kind"] in ("Deployment", "StatefulSet", "Job")
    }
