"""The chart on a node with real containers: its images are this machine's own programs, its engines this machine's servers."""

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from engines.kubernetes.real import RealCluster


def values(cluster: RealCluster, store: str, registry: str, **more: object) -> dict[str, object]:
    """What to tell the chart, besides values-trial.yaml. `store` and `registry` are two databases of this machine."""
    image = cluster.image
    told: dict[str, object] = {
        "operator": {"image": image},
        "registry": {"image": image, "store": cluster.reach(registry)},
        "agents": {"image": image},
        "platform": {"store": cluster.reach(store)},
        "postgresql": {"enabled": False},
    }
    for part, settings in more.items():
        known = told.get(part)
        told[part] = (
            {**known, **settings} if isinstance(known, dict) and isinstance(settings, dict) else settings
        )
    return told


def shell(cluster: RealCluster, folder: Path, told: Mapping[str, object]) -> dict[str, str]:
    """The environment of a person at this cluster: a kubeconfig of his own, kubectl, and a helm that tells the chart these values too."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    file = folder / "values.json"
    file.write_text(json.dumps(told))
    programs = cluster.kubectl.environment["PATH"]
    real = Path(programs.partition(os.pathsep)[0]) / "helm"
    wrapper = folder / "bin" / "helm"
    wrapper.parent.mkdir()
    wrapper.write_text(
        "#!/bin/sh\n"
        f'case "$1" in install|upgrade) set -- "$@" --values {shlex.quote(str(file))};; esac\n'
        f'exec {shlex.quote(str(real))} "$@"\n'
    )
    wrapper.chmod(0o755)
    return {"KUBECONFIG": str(kubeconfig), "PATH": f"{wrapper.parent}{os.pathsep}{programs}"}
