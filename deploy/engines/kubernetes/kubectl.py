"""The real kubectl and helm, on one cluster."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.errors import EngineError


class Kubectl:
    """Call it: `kubectl("get", "pods", "-n", "demo")` is what kubectl writes. Raises EngineError with what it writes when it fails."""

    def __init__(self, kubeconfig: Path, folder: Path | None) -> None:
        """`folder` holds the two programs; without one they are those of the PATH."""
        self._environment = {"KUBECONFIG": str(kubeconfig)}
        if folder:
            self._environment["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"

    @property
    def environment(self) -> Mapping[str, str]:
        """KUBECONFIG and PATH for whoever starts kubectl, helm or a program that finds its cluster as they do."""
        return dict(self._environment)

    def __call__(self, *arguments: str, said: str | None = None, timeout: float = 60) -> str:
        """Its standard output, after it was told `said` on standard input."""
        return self._run(["kubectl", *arguments], said, timeout)

    def helm(self, *arguments: str, timeout: float = 120) -> str:
        """The same for helm."""
        return self._run(["helm", *arguments], None, timeout)

    def json(self, *arguments: str, timeout: float = 60) -> Any:
        """`kubectl … -o json`, read."""
        return json.loads(self(*arguments, "-o", "json", timeout=timeout))

    def apply(self, what: str | Mapping[str, Any] | Sequence[Mapping[str, Any]], *options: str) -> str:
        """`kubectl apply` of YAML text, an object, or several."""
        if not isinstance(what, str):
            several = [what] if isinstance(what, Mapping) else list(what)
            what = json.dumps({"apiVersion": "v1", "kind": "List", "items": several})
        return self("apply", "-f", "-", *options, said=what)

    def story(self, namespace: str) -> str:
        """What a person would look at when something does not come up there: pods, events, the end of what containers wrote."""
        told = [self("get", "pods", "-o", "wide", "-n", namespace), self("events", "-n", namespace)]
        for pod in self.json("get", "pods", "-n", namespace)["items"]:
            name = pod["metadata"]["name"]
            for options in ((), ("--previous",)):
                try:
                    wrote = self("logs", name, "-n", namespace, "--all-containers", "--tail=30", *options)
                except EngineError:
                    continue  # it did not start, or was not started again
                told.append(f"{' '.join([name, *options])}:\n{wrote}")
        return "\n".join(told)

    def _run(self, command: list[str], said: str | None, timeout: float) -> str:
        try:
            ran = subprocess.run(
                command,
                input=said if said is not None else "",
                env={**os.environ, **self._environment},
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise EngineError(
                f"{command[0]} is not on the PATH: install it to use the cluster of KUBECONFIG"
            ) from None
        if ran.returncode != 0:
            raise EngineError(f"{' '.join(command)}: {ran.stderr.strip() or ran.stdout.strip()}")
        return ran.stdout
