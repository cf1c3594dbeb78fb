"""Writes what is generated from the models: `python -m parley_operator.crds` in a checkout, `… FILE` for one file of all.

These are charts/parley/crds/, deploy/kubernetes/crds/ and docs/crds.md; a test fails when they are not as they would be written now.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from parley_operator.crd import KINDS, Kind, definition
from parley_operator.crddocs import page

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("charts/parley/crds", "deploy/kubernetes/crds")
_HEAD = "# Written by `python -m parley_operator.crds`; change parley_operator/resources instead.\n"


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def written(kind: Kind) -> str:
    """The definition of a kind as YAML."""
    return _HEAD + dumped(definition(kind))


def dumped(told: Mapping[str, Any]) -> str:
    """Anything of Kubernetes' as YAML, in the order that it is in."""
    return yaml.dump(told, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


def files() -> dict[str, str]:
    """All that is generated, by its path in the project."""
    found = {f"{folder}/{kind.plural}.yaml": written(kind) for folder in FOLDERS for kind in KINDS}
    return found | {"docs/crds.md": page(KINDS)}


def main() -> None:
    """Write the files of this checkout, or with a path all definitions to that."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text("---\n".join(map(written, KINDS)))
        return
    for name, text in files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
