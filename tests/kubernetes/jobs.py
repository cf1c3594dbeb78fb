"""A job for the team, given by a pod, whose tests come to a gate that the test opens: so it is known to be in the middle."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from installed import Installed
from pods import job, pod
from released import CALLS_REGISTRY
from threadedpage import ThreadedPage

# The tests pass without delay on the repository as it is given, and come to the gate once a coder has changed it.
_SCRIPT = """
set -eu
mkdir /tmp/repo && cd /tmp/repo
cat >prices.py <<'END'
import os
import sys


def total(items):
    return sum(items)
END
cat >test_prices.py <<'END'
import time
import unittest
import urllib.request

import prices


class Total(unittest.TestCase):
    def test_sum(self):
        until = time.monotonic() + 560
        while not hasattr(prices, "os") and time.monotonic() < until:
            with urllib.request.urlopen("GATE", timeout=60) as answer:
                if answer.read() == b"open":
                    break
            time.sleep(0.5)
        self.assertEqual(prices.total([1, 2]), 3)
END
git init -q -b main && git add -A && git -c user.name=Ann -c user.email=ann@localhost commit -q -m First
parley run 'Remove unused imports' --json --out /tmp/out || echo "exit code $?" >&2
"""


class Gate(ThreadedPage):
    """A page of this machine that says whether one may go on. Use as a context manager."""

    def __init__(self, release: Installed) -> None:
        self.reached = threading.Event()
        """Somebody has come to it."""
        self._open = threading.Event()
        gate = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gate.reached.set()
                with suppress(ConnectionError):  # who asked may have been killed
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"open" if gate._open.is_set() else b"closed")

            def log_message(self, *_: object) -> None: ...

        super().__init__(release.cluster.host, Page, release.gate)

    def open(self) -> None:
        """Let them go on, who wait and who comes."""
        self._open.set()


@dataclass(frozen=True)
class Job:
    """`parley run` in a pod of that name."""

    release: Installed
    name: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has told so far."""
        said = self.release.kubectl("logs", f"job/{self.name}")
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    @property
    def task(self) -> str:
        """The orchestrator's task; "" while it has none."""
        return next((str(one["job"]) for one in self.events if one["event"] == "job-started"), "")

    @property
    def over(self) -> bool:
        """Whether the pod has ended."""
        status = self.release.get("job", self.name)["status"]
        return bool(status.get("succeeded") or status.get("failed"))


def give(release: Installed, name: str, gate: Gate) -> Job:
    """Have a new pod give the team a job whose tests come to that gate."""
    spec = pod(release.cluster.image, ["sh", "-c", _SCRIPT.replace("GATE", gate.url)])
    space = release.told["agents"]["registryNamespace"]
    registry = f"http://parley-registry.{release.namespace}.svc:8420?namespace={space}"
    spec["containers"][0]["env"] = [
        {"name": "PARLEY_REGISTRY", "value": registry},
        {"name": "PARLEY_TOKEN_FILE", "value": "/var/run/secrets/parley/token"},
        {"name": "HOME", "value": "/tmp"},
    ]
    spec["containers"][0]["volumeMounts"].append({"name": "token", "mountPath": "/var/run/secrets/parley"})
    token = {"serviceAccountToken": {"path": "token", "audience": "parley"}}
    spec["volumes"].append({"name": "token", "projected": {"sources": [token]}})
    release.cluster.kubectl.apply(job(name, spec, CALLS_REGISTRY), "-n", release.namespace)
    return Job(release, name)
