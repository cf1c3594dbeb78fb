"""The plain YAML of deploy/kubernetes, made of the chart: `make plain-yaml` writes it, a test says when it is old.

`base` is what the trial and production have in common, their folders hold what is different. Secrets are in none of them.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml
from charted import PRODUCTION, PROJECT, TRIAL, Object, template

from engines.kubernetes.kubectl import Kubectl
from engines.kubernetes.programs import programs

FOLDER = PROJECT / "deploy" / "kubernetes"
_HEAD = "# Made of charts/parley by `make plain-yaml`; change that instead.\n"
_SECRETS = {"platform.existing": True, "registry.existingSecret": "parley-registry"}
_OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by")


def overlays(kubectl: Kubectl) -> dict[str, list[Object]]:
    """All objects of each overlay."""
    trial = template(kubectl, TRIAL, values=_SECRETS)
    production = template(kubectl, PRODUCTION, values=_SECRETS)
    return {"trial": _plain(trial), "production": _plain(production)}


def files(kubectl: Kubectl) -> dict[Path, str]:
    """What the files are to be."""
    trial, production = overlays(kubectl).values()
    common = [one for one in trial if one in production]
    parts = {
        "base": common,
        "trial": [one for one in trial if one not in common],
        "production": [one for one in production if one not in common],
    }
    return {FOLDER / part / "parley.yaml": _text(objects) for part, objects in parts.items()}


def _plain(objects: list[Object]) -> list[Object]:
    hooks = [one for one in objects if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    return [_without_helm(one) for one in objects if one["kind"] != "Secret" and one not in hooks]


def _without_helm(told: Object) -> Object:
    """The same without the labels that are Helm's."""

    def cleaned(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: cleaned(one) for key, one in value.items() if key not in _OF_HELM}
        return [cleaned(one) for one in value] if isinstance(value, list) else value

    made = cleaned(told)
    assert isinstance(made, dict)
    return made


def _text(objects: list[Object]) -> str:
    return _HEAD + yaml.safe_dump_all(objects, sort_keys=False, width=140, allow_unicode=True)


if __name__ == "__main__":
    for path, text in files(Kubectl(Path("/dev/null"), programs().folder)).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
