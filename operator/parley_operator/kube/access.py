"""Which API server, and as whom: of the pod that the operator runs in, or of a kubeconfig."""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parley_core.bearer import Bearer, bearer
from parley_core.errors import ConfigurationError

_IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    """The way to one API server. A token in a file is read anew for each call, as Kubernetes renews it there."""

    server: str
    tls: ssl.SSLContext | None
    token: Bearer | None
    namespace: str
    """That of the context or the pod; where the lease is, unless told otherwise."""


def find_access(kubeconfig: str = "", context: str = "") -> Access:
    """As kubectl finds it: the file named, else $KUBECONFIG, else of the pod we are in, else ~/.kube/config.

    Raises ConfigurationError that says what is missing.
    """
    named = kubeconfig or os.environ.get("KUBECONFIG", "")
    if named:
        return from_kubeconfig([Path(one) for one in named.split(os.pathsep) if one], context)
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    if host and not context:
        return from_pod(host, os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
    home = Path.home() / ".kube" / "config"
    if home.is_file():
        return from_kubeconfig([home], context)
    raise ConfigurationError(
        "no Kubernetes API server: run in a pod with a service account, or set KUBECONFIG to a kubeconfig"
    )


def from_pod(host: str, port: str, folder: Path = _IN_POD) -> Access:
    """By the service account of the pod. Raises ConfigurationError when it has none."""
    try:
        namespace = (folder / "namespace").read_text().strip()
        tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    except OSError as error:
        raise ConfigurationError(
            f"no service account in {folder} ({error.strerror or error}); the pod needs automountServiceAccountToken"
        ) from error
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(server, tls, bearer(file=folder / "token"), namespace)


def from_kubeconfig(files: list[Path], context: str = "") -> Access:
    """By a context of kubeconfig files, the current one unless named; the first file that has something wins.

    Raises ConfigurationError: also for credentials that come from a program (`exec`, `auth-provider`), which are for
    people.
    """
    merged: dict[str, dict[str, tuple[Mapping[str, Any], Path]]] = {
        "clusters": {},
        "users": {},
        "contexts": {},
    }
    for file in files:
        told = _read(file)
        context = context or str(told.get("current-context") or "")
        for plural, known in merged.items():
            for one in told.get(plural) or []:
                known.setdefault(one["name"], (one.get(plural[:-1]) or {}, file.parent))
    chosen = _entry(merged["contexts"], "context", context)[0]
    cluster, beside = _entry(merged["clusters"], "cluster", str(chosen.get("cluster", "")))
    user, with_user = _entry(merged["users"], "user", str(chosen.get("user", "")))
    if "exec" in user or "auth-provider" in user:
        raise ConfigurationError(
            f"the user {chosen.get('user')} of the kubeconfig gets its credentials from a program, which is not"
            " supported; make a kubeconfig with a service account's token (kubectl create token)"
        )
    return Access(
        str(cluster.get("server", "")).rstrip("/"),
        _tls(cluster, beside, user, with_user),
        bearer(
            str(user.get("token") or ""), with_user / user["tokenFile"] if user.get("tokenFile") else None
        ),
        str(chosen.get("namespace") or "default"),
    )


def _read(file: Path) -> Mapping[str, Any]:
    try:
        told = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"cannot read the kubeconfig {file}: {error}") from error
    if not isinstance(told, dict):
        raise ConfigurationError(f"{file} is no kubeconfig")
    return told


def _entry(
    known: Mapping[str, tuple[Mapping[str, Any], Path]], what: str, name: str
) -> tuple[Mapping[str, Any], Path]:
    if name not in known:
        raise ConfigurationError(
            f"the kubeconfig has no {what} {name!r}; it has {', '.join(sorted(known)) or 'none'}"
        )
    return known[name]


def _tls(
    cluster: Mapping[str, Any], beside: Path, user: Mapping[str, Any], with_user: Path
) -> ssl.SSLContext | None:
    if not str(cluster.get("server", "")).startswith("https:"):
        return None
    try:
        authority = _bytes(cluster, "certificate-authority", beside)
        tls = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        certificate = _bytes(user, "client-certificate", with_user)
        key = _bytes(user, "client-key", with_user)
        if certificate and key:
            # The standard library loads a client's certificate from a file only.
            with tempfile.NamedTemporaryFile() as file:
                file.write(certificate + b"\n" + key)
                file.flush()
                tls.load_cert_chain(file.name)
    except (OSError, ValueError, binascii.Error) as error:
        raise ConfigurationError(
            f"the certificates of the kubeconfig cannot be used: {type(error).__name__}; make it anew"
        ) from error
    return tls


def _bytes(of: Mapping[str, Any], field: str, beside: Path) -> bytes:
    if of.get(f"{field}-data"):
        return base64.b64decode(of[f"{field}-data"], validate=True)
    return (beside / of[field]).read_bytes() if of.get(field) else b""
