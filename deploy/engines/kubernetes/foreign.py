"""A cluster that somebody else runs: kind, minikube, one's own."""

import os
from pathlib import Path

from engines.errors import EngineError
from engines.kubernetes.control_plane import PRETENDS
from engines.kubernetes.kubectl import Kubectl


class ForeignCluster:
    """The one that KUBECONFIG names, used by the kubectl and helm of the PATH."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = Path(kubeconfig)
        self.kubectl = Kubectl(self.kubeconfig, None)

    @classmethod
    def of_environment(cls) -> "ForeignCluster | None":
        """None if KUBECONFIG is not set. Raises EngineError if that cluster does not answer."""
        named = os.environ.get("KUBECONFIG")
        if not named:
            return None
        found = cls(named)
        try:
            found.kubectl("version", "--request-timeout=10s")
        except EngineError as error:
            raise EngineError(f"the cluster that KUBECONFIG names does not answer: {error}") from None
        return found

    @property
    def pretends(self) -> bool:
        """Whether a node of it only pretends, so that pods of any image become ready."""
        nodes = self.kubectl.json("get", "nodes")["items"]
        key, value = PRETENDS
        return any(node["metadata"].get("annotations", {}).get(key) == value for node in nodes)
