"""`make engines`: PostgreSQL, RocketMQ, S3 and Nacos on loopback for a developer, and Kubernetes if named.
`run.py fetch|up|down|status|env [postgres rocketmq s3 nacos kubernetes real-kubernetes]`

`fetch` gets ready what a first start would have to (jars, archives of classes) and says what is missing.
They stay until `down`, and their data until the folder is removed.
"""

import argparse
import hashlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from engines.errors import EngineError
from engines.kubernetes.control_plane import ControlPlane
from engines.kubernetes.real import RealCluster
from engines.nacos import Nacos
from engines.postgres import Postgres, binaries
from engines.rocketmq import PARTS, RocketMQ
from engines.s3 import S3
from engines.server import SingleServer
from parley_core.bloblinks import load_key

BUCKET = "parley"


CHECKOUT = Path(__file__).resolve().parents[2]


def place_of(checkout: Path) -> Path:
    """Where data and logs of the engines of a checkout lie: each has its own. Not under a home, which the account that PostgreSQL
    runs as may not enter."""
    name = hashlib.sha256(str(checkout).encode()).hexdigest()[:8]
    return Path(f"/var/tmp/parley-engines-{os.getuid()}-{name}")


def folder() -> Path:
    """The place of this checkout, made if need be. Raises EngineError."""
    place = place_of(CHECKOUT)
    place.mkdir(mode=0o711, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.getuid():
        raise EngineError(f"{place} belongs to another user; remove it")
    return place


class Engines:
    """Each has its preferred port (another free one if that is taken)."""

    default = ("postgres", "rocketmq", "s3", "nacos")
    clusters = ("kubernetes", "real-kubernetes")

    def __init__(self, place: Path) -> None:
        self.postgres = Postgres(place, port=15432)
        self.rocketmq = RocketMQ(place, port=18081)
        self.s3 = S3(place, port=19000)
        self.nacos = Nacos(place, port=18848, short_lived=True)  # half the time to start
        self._clusters = {
            "kubernetes": ControlPlane(place, port=16443),
            "real-kubernetes": RealCluster(place, port=16444),
        }
        self._blob_key = place / "blob.key"

    def fetch(self, name: str) -> None:
        """Have all there that a start needs. Raises EngineError for what is to be installed first."""
        fetches: dict[str, Callable[[], object]] = {
            "postgres": binaries,
            "rocketmq": RocketMQ.fetch,
            "s3": S3.fetch,
            "nacos": Nacos.fetch,
            "kubernetes": ControlPlane.fetch,
            "real-kubernetes": RealCluster.fetch,
        }
        fetches[name]()

    def up(self, name: str) -> None:
        """Start what does not run. Raises EngineError."""
        if name in self._clusters:
            self._clusters[name].start()
        elif name == "rocketmq":
            self.rocketmq.start()
        elif not self._single(name).running:
            self._single(name).start()
        if name == "s3" and not (self.s3.folder / "buckets" / BUCKET).exists():
            self.s3.create_bucket(BUCKET)

    def down(self, name: str) -> None:
        """Stop it if it runs."""
        cluster = self._clusters.get(name)
        (cluster or (self.rocketmq if name == "rocketmq" else self._single(name))).close()

    def missing(self, name: str) -> list[str]:
        """Which of its processes do not run."""
        if name in self._clusters:
            return self._clusters[name].missing()
        if name == "rocketmq":
            return [part for part in PARTS if not self.rocketmq.running(part)]
        return [] if self._single(name).running else [name]

    def environment(self, name: str) -> Mapping[str, str]:
        """What a `parley` command or an agent needs to use it."""
        if name in self._clusters:
            return self._clusters[name].kubectl.environment
        if name == "postgres":
            return {"PARLEY_STORE": self.postgres.dsn}
        if name == "rocketmq":
            return {"PARLEY_QUEUE": self.rocketmq.url, "PARLEY_BUS": self.rocketmq.url}
        if name == "nacos":
            return {"PARLEY_NACOS": self.nacos.url}
        load_key(self._blob_key)  # makes it when it is not there
        return {
            "PARLEY_BLOBS": self.s3.url(BUCKET),
            "PARLEY_BLOB_KEY_FILE": str(self._blob_key),
            **self.s3.environment,
        }

    def _single(self, name: str) -> SingleServer:
        return {"postgres": self.postgres, "s3": self.s3, "nacos": self.nacos}[name]


def main(arguments: list[str]) -> int:
    """The exit code: 1 if something does not start (up) or does not run (status)."""
    parser = argparse.ArgumentParser(prog="engines", description=__doc__)
    parser.add_argument("command", choices=("fetch", "up", "down", "status", "env"))
    parser.add_argument(
        "engines",
        nargs="*",
        help="postgres, rocketmq, s3, nacos (default: these), kubernetes, real-kubernetes",
    )
    asked = parser.parse_args(arguments)
    if unknown := set(asked.engines) - {*Engines.default, *Engines.clusters}:
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    names, code = asked.engines or Engines.default, 0
    engines = Engines(folder())
    for name in names if asked.command != "down" else reversed(names):
        since = time.monotonic()
        try:
            if asked.command == "fetch":
                engines.fetch(name)
            elif asked.command == "up":
                engines.up(name)
                print(f"{name} ready after {time.monotonic() - since:.1f} s")
            elif asked.command == "down":
                engines.down(name)
                print(f"{name} is down")
            elif asked.command == "env" and not engines.missing(name):
                for variable, value in engines.environment(name).items():
                    print(f"export {variable}={shlex.quote(value)}")
            elif asked.command == "status":
                missing = engines.missing(name)
                code = code or int(bool(missing))
                print(f"{name}: {'up' if not missing else 'down: ' + ', '.join(missing)}")
        except EngineError as error:
            code = 1
            print(f"{name}: {error}", file=sys.stderr)
    if asked.command == "status":
        print(f"data and logs: {folder()}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
