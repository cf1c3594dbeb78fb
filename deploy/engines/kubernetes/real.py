"""Kubernetes with a real node: kubelet, kube-proxy, CoreDNS, and containerd for real containers, without Docker."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from string import Template

from engines.errors import EngineError
from engines.kubernetes import forward, policies
from engines.kubernetes.control_plane import ControlPlane
from engines.kubernetes.images import with_contents, write_image
from engines.kubernetes.keys import NODE
from engines.kubernetes.machine import Machine
from engines.kubernetes.parts import Part
from engines.kubernetes.programs import HOME, Programs, programs
from engines.program import Program

IMAGES = tuple(f"parley.test/host:{tag}" for tag in ("1", "2", "3", "4"))
_PAUSE = "parley.test/pause:1"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PLUGINS = Path("/usr/lib/cni")
# What programs of this folder find each other by.
_PYTHON = {"PYTHONPATH": str(Path(__file__).parents[2])}
_DEBIAN = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "ip": "iproute2",
}
_LOOPBACK = re.compile(r"(?:127\.0\.0\.1|localhost):(\d+)")
_NACOS_GRPC = 1000


class RealCluster(ControlPlane):
    """Besides `etcd api controllers scheduler` it has the parts `containerd kubelet proxy dns policies`. Ready in ~15 s; needs root and Linux.

    The node is a Machine, in namespaces of its own. The API server listens at this machine's end of the link to it, where this machine, the
    node and pods reach it. This machine reaches pods and Services by their addresses; reach() makes its own servers reachable for pods.
    Pods of IMAGES have this machine's programs, this interpreter and the repository: `command: ["parley", "host", …]` just works.
    """

    def __init__(self, folder: Path | None = None, *, port: int = 0, name: str = "real-kubernetes") -> None:
        super().__init__(folder, port=port, fake_node=False, name=name)
        self.machine = Machine(f"{name}-machine", self.folder.parent)

    @staticmethod
    def fetch() -> Programs:
        """Compile what a start needs. Raises EngineError, also for what is to be installed first."""
        if os.getuid() != 0:
            raise EngineError(
                "a node with real containers needs root; one that only pretends (`kubernetes`) does not"
            )
        lacking = {package for program, package in _DEBIAN.items() if not shutil.which(program, path=_PATH)}
        if not (_PLUGINS / "bridge").exists():
            lacking.add("containernetworking-plugins")
        if lacking:
            raise EngineError(
                f"a node with real containers needs more: on Debian or Ubuntu `apt-get install {' '.join(sorted(lacking))}`"
            )
        return programs()

    @property
    def image(self) -> str:
        """`parley.test/host:1`, the first of IMAGES, which are all the same."""
        return IMAGES[0]

    @property
    def host(self) -> str:
        """This machine's address for pods: what listens there, or at 0.0.0.0, they reach."""
        return self.machine.place.host

    def reach(self, url: str) -> str:
        """The same address for pods: each `127.0.0.1:port` in it becomes one that is forwarded there from now on, also while the server is
        away. Not for RocketMQ, which tells its clients where it is: start one by `own_rocketmq(address=cluster.host)`. Raises EngineError."""
        if url.startswith("rocketmq:"):
            raise EngineError(f"RocketMQ itself has to be at {self.host}: RocketMQ(address=…)")
        for port in map(int, _LOOPBACK.findall(url)):
            self._forward(port)
            if url.startswith("nacos:"):
                self._forward(port + _NACOS_GRPC)
        return _LOOPBACK.sub(rf"{self.host}:\1", url)

    def kill(self, *parts: str) -> None:
        """kill -9; of all of it, its containers and what reach() made too."""
        super().kill(*parts)
        if not parts:
            self.machine.kill()
            for pid_file in self.folder.parent.glob(f"{self._forwarding}*.pid"):
                Program(pid_file.stem, self.folder.parent).kill()

    def kill_container(self, container: str) -> None:
        """kill -9 of all that runs in it, as the kernel does it to who has no memory left; kubelet starts it again. `container` is its
        `containerID` in the status of its pod. Raises EngineError when there is none such any more."""
        name = container.removeprefix("containerd://")
        kill = [*self._ctr, "tasks", "kill", "--signal", "SIGKILL", name]
        ran = subprocess.run(kill, capture_output=True, text=True, timeout=30, check=False)
        if ran.returncode != 0:
            raise EngineError(f"the container {name[:12]} is not killed: {ran.stderr.strip()}")

    def stop(self, *parts: str) -> None:
        """Ask them to end, the last first, and wait; addresses and data stay. Containers end when all of it is stopped, as when a machine is switched off."""
        super().stop(*parts)
        if not parts:
            self.kill()

    def _prepare(self) -> None:
        self.fetch()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.machine.running:
            self.machine.start()
        self._address, self._services = self.host, self.machine.place.services
        super()._prepare()
        self._configure()

    @property
    def _ctr(self) -> list[str]:
        return ["ctr", "--address", str(self.folder / "containerd.sock"), "--namespace", "k8s.io"]

    @property
    def _forwarding(self) -> str:
        return f"{self.folder.name}-forward-"

    def _forward(self, port: int) -> None:
        program = Program(f"{self._forwarding}{port}", self.folder.parent)
        if not program.running:
            program.start(
                [sys.executable, "-m", "engines.kubernetes.forward", self.host, str(port)],
                environment=_PYTHON,
            )
            program.wait_until(lambda: program.said(forward.READY))

    def _configure(self) -> None:
        place = self.machine.place
        values = {
            "folder": self.folder,
            "plugins": _PLUGINS,
            "pause": _PAUSE,
            "node": place.node,
            "pods": place.pods,
            "cgroup": self.machine.cgroup,
            "kubeconfig": self.kubeconfig,
        }
        for name in ("containerd.toml", "kubelet.yaml", "Corefile", "cni/bridge.conflist"):
            written = self.folder / name
            written.parent.mkdir(exist_ok=True)
            written.write_text(Template((HOME / written.name).read_text()).substitute(values))
        base = subprocess.run(["ctr", "oci", "spec"], capture_output=True, check=True, timeout=30).stdout
        (self.folder / "container.json").write_text(json.dumps(with_contents(json.loads(base))))

    def _parts(self) -> Mapping[str, Part]:
        inside = {"PATH": _PATH}
        return {
            **super()._parts(),
            "containerd": Part(self._containerd, self._has_images, inside),
            "kubelet": Part(self._kubelet, self._has_node, inside),
            "proxy": Part(self._proxy, environment=inside),
            "dns": Part(self._dns, self._resolves),
            "policies": Part(
                self._policies, lambda: self._program("policies").said(policies.READY), inside | _PYTHON
            ),
        }

    def _containerd(self) -> list[str]:
        return self.machine.inside("containerd", "-c", str(self.folder / "containerd.toml"))

    def _kubelet(self) -> list[str]:
        folder = self.folder
        return self.machine.inside(
            *(
                self._bin.path("kubelet"),
                f"--config={folder / 'kubelet.yaml'}",
                f"--kubeconfig={self._keys.kubeconfig('node')}",
            ),
            *(f"--hostname-override={NODE}", f"--node-ip={self.machine.place.node}"),
            *(f"--root-dir={folder / 'kubelet'}", f"--cert-dir={folder / 'kubelet-keys'}"),
        )

    def _proxy(self) -> list[str]:
        place = self.machine.place
        return self.machine.inside(
            *(
                self._bin.path("kube-proxy"),
                f"--kubeconfig={self._keys.kubeconfig('proxy')}",
                "--proxy-mode=iptables",
            ),
            *(
                f"--hostname-override={NODE}",
                f"--bind-address={place.node}",
                f"--cluster-cidr={place.pods}.0/24",
            ),
            # These are settings of the whole machine.
            *(
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0s",
                "--conntrack-tcp-timeout-close-wait=0s",
            ),
        )

    def _dns(self) -> list[str]:
        return self.machine.inside(self._bin.path("coredns"), "-conf", str(self.folder / "Corefile"))

    def _policies(self) -> list[str]:
        return self.machine.inside(
            *(
                sys.executable,
                "-m",
                policies.__name__,
                str(self._keys.kubeconfig("admin")),
                self.machine.place.host,
            )
        )

    def _has_images(self) -> bool:
        """Whether containerd serves and has the images, which it is given when it lacks them."""
        ctr = [*self._ctr, "images"]
        listed = subprocess.run([*ctr, "list", "-q"], capture_output=True, text=True, timeout=30, check=False)
        if listed.returncode != 0:
            return False
        if not set(IMAGES) | {_PAUSE} <= set(listed.stdout.split()):
            for names, program in (((_PAUSE,), Path(self._bin.path("pause"))), (IMAGES, None)):
                file = self.folder / "image.tar"
                write_image(file, names, program)
                subprocess.run([*ctr, "import", str(file)], capture_output=True, timeout=30, check=True)
        return True

    def _resolves(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.machine.place.node}:8181/ready", timeout=5):
                return True
        except OSError:
            return False
