"""Pods of this machine's own programs, as an operator would make them: restricted, and with nothing mounted but by the image."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.kubernetes.kubectl import Kubectl

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}

_TRY = """
import socket, sys
for one in sys.argv[1:]:
    to, _, port = one.rpartition(":")
    try:
        socket.create_connection((to, int(port)), timeout=2).close()
        print(True)
    except OSError:
        print(False)
"""


def reached(kubectl: Kubectl, who: str, namespace: str, *calls: tuple[str, int]) -> list[bool]:
    """Whether that pod (as kubectl exec names it) can connect to each of these hosts and ports within two seconds."""
    ask = ("python", "-c", _TRY, *(f"{to}:{port}" for to, port in calls))
    return [one == "True" for one in kubectl("exec", who, "-n", namespace, "--", *ask).split()]


def pod(image: str, command: Sequence[str], *, port: int | None = None, ready: str = "/") -> dict[str, Any]:
    """The `spec` of one that can write to /tmp alone, ready once the port answers there."""
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "command": list(command),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if port:
        container["ports"] = [{"containerPort": port}]
        container["readinessProbe"] = {"httpGet": {"path": ready, "port": port}, "periodSeconds": 1}
    return {
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def deployment(name: str, spec: dict[str, Any], *, replicas: int = 1) -> dict[str, Any]:
    """Of so many of these pods, labelled `app: name`."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(name: str, port: int) -> dict[str, Any]:
    """From port 80 to that of the pods labelled `app: name`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": port}]},
    }


def job(name: str, spec: dict[str, Any], labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One run of this pod, which has these labels."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": dict(labels or {})},
                "spec": {**spec, "restartPolicy": "Never"},
            },
        },
    }
