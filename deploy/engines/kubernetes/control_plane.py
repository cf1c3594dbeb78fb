"""Kubernetes with nodes that only pretend: everything but containers is real."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.files import write_private
from engines.kubernetes.keys import NODE, Keys
from engines.kubernetes.kubectl import Kubectl
from engines.kubernetes.parts import Part, PartedServer
from engines.kubernetes.programs import HOME, Programs, programs
from engines.ports import free_port

_IN_PODS = ("kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
# The mark of nodes that kwok takes care of.
PRETENDS = ("kwok.x-k8s.io/node", "fake")
FAKE_NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": NODE, "labels": {"type": "kwok"}, "annotations": dict([PRETENDS])},
    "status": {
        quantity: {"cpu": "10k", "memory": "100Ti", "pods": "100k"}
        for quantity in ("allocatable", "capacity")
    },
}


class ControlPlane(PartedServer):
    """etcd, API server, controllers and scheduler (parts `etcd api controllers scheduler`), and with `fake_node` kwok (`kwok`), which has
    every pod running and ready as soon as it is scheduled. Ready in ~5 s (the first time on a machine it is compiled: six minutes).

    Without a folder its data is temporary and goes with close() or the end of this process, even by kill -9.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int = 0,
        address: str = "127.0.0.1",
        services: str = "10.96.0",
        service_bits: int = 24,
        fake_node: bool = True,
        name: str = "kubernetes",
    ) -> None:
        """`port` is the preferred one of the API server, which listens at `address` alone. `services.0/service_bits` are their addresses."""
        super().__init__(name, folder)
        self._facts = self.folder / "facts.json"
        self._keys = Keys(self.folder / "keys")
        self._preferred = port
        self._address = address
        self._services = services
        self._service_bits = service_bits
        self._fake_node = fake_node
        self._found: Programs | None = None

    @property
    def url(self) -> str:
        """`https://address:port` of the API server; it stays."""
        return f"https://{self._address}:{json.loads(self._facts.read_text())['port']}"

    @property
    def kubeconfig(self) -> Path:
        """Of who may do all."""
        return self._keys.kubeconfig("admin")

    @property
    def kubectl(self) -> Kubectl:
        """kubectl and helm for who may do all."""
        return Kubectl(self.kubeconfig, self._bin.folder)

    @staticmethod
    def fetch() -> Programs:
        """Have the programs there that a start needs. Raises EngineError."""
        return programs()

    def get(self, path: str) -> Any:
        """What the API server answers to who may do all, read; None if it does not answer or refuses."""
        token = json.loads(self.kubeconfig.read_text())["users"][0]["user"]["token"]
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"})
        trust = ssl.create_default_context(cafile=str(self._keys.certificate))
        try:
            with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
                text = answer.read()
        except (OSError, urllib.error.HTTPError):
            return None
        return json.loads(text) if text.startswith(b"{") else text.decode()

    @property
    def _bin(self) -> Programs:
        if self._found is None:
            self._found = programs()
        return self._found

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._facts.exists():
            port = free_port(self._preferred)
            known = ("localhost", "127.0.0.1", *_IN_PODS, f"{self._services}.1", self._address)
            self._keys.make(f"https://{self._address}:{port}", names=list(dict.fromkeys(known)))
            half = self._facts.with_suffix(".new")
            write_private(half, json.dumps({"port": port}))
            half.rename(self._facts)

    def _parts(self) -> Mapping[str, Part]:
        control = {
            "etcd": Part(self._etcd, lambda: (self.folder / "etcd.sock").exists()),
            "api": Part(self._api, lambda: self.get("/readyz") == "ok"),
            "controllers": Part(self._controllers, self._has_account),
            "scheduler": Part(self._scheduler),
        }
        return {**control, "kwok": Part(self._kwok, self._has_node)} if self._fake_node else control

    def _etcd(self) -> list[str]:
        (self.folder / "etcd.sock").unlink(missing_ok=True)
        nowhere = "http://localhost:1"  # what it tells others of itself; there are none
        return [
            *(
                self._bin.path("etcd"),
                "--data-dir",
                str(self.folder / "etcd"),
                "--unsafe-no-fsync",
                "--log-level=warn",
            ),
            *(f"--listen-client-urls=unix://{self.folder}/etcd.sock", f"--advertise-client-urls={nowhere}"),
            *(
                f"--listen-peer-urls=unix://{self.folder}/etcd-peer.sock",
                f"--initial-advertise-peer-urls={nowhere}",
            ),
            f"--initial-cluster=default={nowhere}",
        ]

    def _api(self) -> list[str]:
        keys = self._keys
        return [
            *(self._bin.path("kube-apiserver"), f"--etcd-servers=unix://{self.folder}/etcd.sock"),
            *(f"--bind-address={self._address}", f"--secure-port={self.url.rpartition(':')[2]}"),
            f"--advertise-address={self._address}",
            # An endpoint may not be of the loopback: there the Service `kubernetes` has none.
            f"--endpoint-reconciler-type={'none' if self._address.startswith('127.') else 'lease'}",
            *(f"--tls-cert-file={keys.certificate}", f"--tls-private-key-file={keys.certificate_key}"),
            *(
                f"--token-auth-file={keys.tokens}",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
            ),
            "--service-account-issuer=https://kubernetes.default.svc",
            *(
                f"--service-account-key-file={keys.accounts_key}",
                f"--service-account-signing-key-file={keys.accounts_key}",
            ),
            *(
                f"--service-cluster-ip-range={self._services}.0/{self._service_bits}",
                "--kubelet-preferred-address-types=InternalIP",
            ),
            "--profiling=false",
        ]

    def _controllers(self) -> list[str]:
        return [
            *(
                self._bin.path("kube-controller-manager"),
                f"--kubeconfig={self._keys.kubeconfig('controllers')}",
            ),
            *(
                "--secure-port=0",
                "--leader-elect=false",
                "--profiling=false",
                "--use-service-account-credentials=false",
            ),
            *(
                f"--service-account-private-key-file={self._keys.accounts_key}",
                f"--root-ca-file={self._keys.certificate}",
            ),
            f"--flex-volume-plugin-dir={self.folder / 'volume-plugins'}",
        ]

    def _scheduler(self) -> list[str]:
        config = f"--kubeconfig={self._keys.kubeconfig('scheduler')}"
        return [
            self._bin.path("kube-scheduler"),
            config,
            *("--secure-port=0", "--leader-elect=false", "--profiling=false"),
        ]

    def _kwok(self) -> list[str]:
        self.kubectl.apply(FAKE_NODE)
        return [
            *(
                self._bin.path("kwok"),
                f"--kubeconfig={self.kubeconfig}",
                f"--config={HOME / 'kwok-stages.yaml'}",
            ),
            f"--manage-nodes-with-annotation-selector={'='.join(PRETENDS)}",
            *("--cidr=10.244.0.0/16", "--node-ip=10.244.0.1", "--node-lease-duration-seconds=40"),
        ]

    def _has_account(self) -> bool:
        return self.get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def _has_node(self) -> bool:
        node = self.get(f"/api/v1/nodes/{NODE}") or {}
        return any(
            told["type"] == "Ready" and told["status"] == "True"
            for told in node.get("status", {}).get("conditions", [])
        )
