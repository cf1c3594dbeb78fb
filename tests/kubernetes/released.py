"""The chart on a node with real containers: its images are this machine's own programs, its engines this machine's servers."""

import json
import os
import shlex
import sys
import zipfile
from collections.abc import Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler
from importlib.metadata import Distribution, distribution
from pathlib import Path

from threadedpage import ThreadedPage

from engines.kubernetes.real import RealCluster

CALLS_REGISTRY = {"parley.test/calls": "registry"}
"""Labels of pods that may call the registry though they are no agents."""


def values(cluster: RealCluster, store: str, registry: str, **more: object) -> dict[str, object]:
    """What to tell the chart, besides values-trial.yaml. `store` and `registry` are two databases of this machine."""
    image = cluster.image
    told: dict[str, object] = {
        "operator": {"image": image},
        "registry": {"image": image, "store": cluster.reach(registry)},
        "agents": {"image": image},
        "platform": {"store": cluster.reach(store)},
        "postgresql": {"enabled": False},
        # The API server is at a port of its own; clients' pods of these tests are not agents.
        "networkPolicy": {
            "apiServerPorts": [int(cluster.url.rpartition(":")[2])],
            "registryFrom": [{"podSelector": {"matchLabels": CALLS_REGISTRY}}],
        },
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
    path = [str(wrapper.parent), str(Path(sys.executable).parent), programs]
    return {"KUBECONFIG": str(kubeconfig), "PATH": os.pathsep.join(path)}


class PackageIndex(ThreadedPage):
    """What a tester needs to run tests, for pods that reach nothing but this machine: pytest as it is installed here, as wheels.
    Use as a context manager; `url` is for UV_DEFAULT_INDEX."""

    def __init__(self, folder: Path, address: str) -> None:
        for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
            place = folder / "index" / name
            place.mkdir(parents=True)
            _wheel(distribution(name), place)
        super().__init__(address, partial(_Quiet, directory=str(folder / "index")))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def _wheel(installed: Distribution, folder: Path) -> None:
    """The distribution as the wheel that it was installed from, without the programs that an installer makes."""
    name = f"{installed.metadata['Name'].lower().replace('-', '_')}-{installed.version}-py3-none-any.whl"
    made_here = ("INSTALLER", "REQUESTED", "RECORD")
    with zipfile.ZipFile(folder / name, "w") as wheel:
        kept = [
            one
            for one in installed.files or ()
            if ".." not in one.parts and one.suffix != ".pyc" and one.name not in made_here
        ]
        for one in kept:
            wheel.write(str(one.locate()), str(one))
        info = next(one.parts[0] for one in kept if one.parts[0].endswith(".dist-info"))
        record = "".join(f"{one},,\n" for one in kept) + f"{info}/RECORD,,\n"
        wheel.writestr(f"{info}/RECORD", record)
