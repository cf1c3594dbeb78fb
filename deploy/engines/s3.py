"""An S3 server: S3Proxy over a folder, with signatures checked, multipart uploads and ranges."""

import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from engines.errors import EngineError
from engines.files import write_private
from engines.java import Jars, jars, java
from engines.ports import free_port
from engines.server import SingleServer

_HOME = Path(__file__).parents[1] / "s3"
_MAIN = "org.gaul.s3proxy.Main"


class S3(SingleServer):
    """One server. All calls block (start ~2 s, the very first time on a machine ~1 min: it fetches 60 MB).

    Without a folder its data is temporary and goes with close() or the end of this process, even by kill -9.
    """

    def __init__(self, folder: Path | None = None, *, port: int = 0, archive: bool = False) -> None:
        """`archive` writes the archive of classes when it is stopped."""
        super().__init__("s3", folder)
        self._facts = self.folder / "facts.json"
        self._preferred = port
        self._archive = archive

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:port`; the port stays."""
        return f"http://127.0.0.1:{self._fact('port')}"

    @property
    def environment(self) -> dict[str, str]:
        """The AWS_… variables of who may do all."""
        return {
            "AWS_ACCESS_KEY_ID": "parley",
            "AWS_SECRET_ACCESS_KEY": self._fact("secret"),
            "AWS_REGION": "us-east-1",
        }

    def url(self, bucket: str) -> str:
        """What `--blobs` takes: `s3://bucket?endpoint=http://127.0.0.1:port`."""
        return f"s3://{bucket}?endpoint={self.endpoint}"

    @classmethod
    def fetch(cls) -> Jars:
        """The jars, ready to run. Raises EngineError."""
        return jars(_HOME / "pom.xml").with_archives(lambda: cls(archive=True))

    def start(self) -> Self:
        """Start it and return once it answers, on the port it had. Raises EngineError."""
        found = jars(_HOME / "pom.xml") if self._archive else self.fetch()
        if not self._facts.exists():
            self._make()
        options = [
            *("-Xms32m", "-Xmx192m", "-XX:MaxDirectMemorySize=64m", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
            *found.archive_options("s3", make=self._archive),
            f"-Dlogback.configurationFile={_HOME / 'logback.xml'}",
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
        ]
        configuration = str(self.folder / "s3proxy.properties")
        self._program.start(
            [java(), *options, "-cp", found.classpath, _MAIN, "--properties", configuration], cwd=self.folder
        )
        self._program.wait_until(self._answers)
        return self

    def create_bucket(self, name: str | None = None) -> str:
        """A new empty bucket; its name."""
        name = name or f"b{secrets.token_hex(6)}"
        (self.folder / "buckets" / name).mkdir()
        return name

    def _make(self) -> None:
        for needed in ("buckets", "tmp"):
            (self.folder / needed).mkdir(parents=True, exist_ok=True)
        port, secret = free_port(self._preferred), secrets.token_urlsafe(24)
        configuration = {
            "s3proxy.endpoint": f"http://127.0.0.1:{port}",
            "s3proxy.authorization": "aws-v4",
            "s3proxy.identity": "parley",
            "s3proxy.credential": secret,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": self.folder / "buckets",
            "jclouds.identity": "unused",
            "jclouds.credential": "unused",
        }
        write_private(
            self.folder / "s3proxy.properties",
            "".join(f"{name}={value}\n" for name, value in configuration.items()),
        )
        write_private(self._facts, json.dumps({"port": port, "secret": secret}))

    def _fact(self, name: str) -> str:
        try:
            return str(json.loads(self._facts.read_text())[name])
        except FileNotFoundError:
            raise EngineError("this S3 server was never started") from None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint, timeout=5):
                return True
        except urllib.error.HTTPError as refusal:
            return refusal.code == 403  # who does not sign is refused
        except OSError:
            return False
