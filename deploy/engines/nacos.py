"""Nacos: one node with its users checked, its data in an embedded database."""

import base64
import json
import os
import secrets
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from engines.errors import EngineError
from engines.files import write_private
from engines.java import Jars, jars, java
from engines.ports import free_port
from engines.server import SingleServer

_HOME = Path(__file__).parents[1] / "nacos"
_MAIN = _HOME / "NacosMain.java"
# From the HTTP port: clients' gRPC, other nodes' gRPC, JRaft.
_BESIDE = (1000, 1001, -1000)
USER = "nacos"


class Nacos(SingleServer):
    """One server. All calls block (start ~7 s, the very first time on a machine ~1 min: it fetches 155 MB); its user is the administrator.

    Without a folder its data is temporary and goes with close() or the end of this process, even by kill -9.
    All its ports are on 127.0.0.1 alone.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        short_lived: bool = False,
        archive: bool = False,
    ) -> None:
        """`port` is the preferred one of HTTP (gRPC is 1000 above). `settings` go over those of deploy/nacos/application.properties.
        `short_lived` compiles quickly rather than well: for tests, not for measuring. `archive` writes the archive of classes when it is stopped."""
        super().__init__("nacos", folder)
        self._facts = self.folder / "facts.json"
        self._preferred = port
        self._settings = settings or {}
        self._archive = archive
        self._compiler = "-XX:TieredStopAtLevel=1" if short_lived else "-XX:CICompilerCount=2"

    @property
    def port(self) -> int:
        """The port of HTTP, which stays; clients' gRPC is at port + 1000."""
        return int(self._fact("port"))

    @property
    def http(self) -> str:
        """`http://127.0.0.1:port`; the API is under /nacos."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        """Of the user `nacos`."""
        return self._fact("password")

    @property
    def url(self) -> str:
        """What `--registry` takes: `nacos://nacos:…@127.0.0.1:port/public`."""
        return self.address("public")

    def address(self, namespace: str) -> str:
        """The same for another namespace."""
        return f"nacos://{USER}:{self.password}@127.0.0.1:{self.port}/{namespace}"

    @classmethod
    def fetch(cls) -> Jars:
        """The jars, ready to run, and what starts the server compiled. Raises EngineError."""
        return _compiled().with_archives(lambda: cls(archive=True))

    def start(self) -> Self:
        """Start it and return once its user can log in, on the ports and data it had. Raises EngineError."""
        found = _compiled() if self._archive else self.fetch()
        if not self._facts.exists():
            self._make()
        self._configure()
        home = self.folder
        options = [
            *("-Xms64m", "-Xmx256m", "-XX:MaxDirectMemorySize=64m"),
            *found.archive_options("nacos", make=self._archive),
            *("-XX:+UseSerialGC", "-XX:-UsePerfData", self._compiler),
            *(f"-Duser.home={home}", f"-Djava.io.tmpdir={home / 'tmp'}"),
            *(f"-Dnacos.home={home}", f"-Dnacos.logs.path={home / 'logs'}", "-Dnacos.standalone=true"),
            "-Dnacos.remote.grpc.listen.ip=127.0.0.1",
            f"-Dspring.config.additional-location=file:{home / 'conf'}/",
            "-Dspring.main.banner-mode=off",
            "-Dlogging.config=classpath:META-INF/logback/nacos.xml",
        ]
        self._program.start([java(), *options, "-cp", _classpath(found), _MAIN.stem], cwd=home)
        self._program.wait_until(self._ready, timeout=300)
        return self

    def create_namespace(self, namespace: str | None = None) -> str:
        """A new empty namespace; its id. Raises EngineError."""
        namespace = namespace or f"t{secrets.token_hex(6)}"
        form = {"namespaceId": namespace, "namespaceName": namespace, "namespaceDesc": ""}
        self.call("POST", "/v3/admin/core/namespace", form)
        return namespace

    def call(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Any:
        """`data` of the answer that the administrator gets (path below /nacos; a GET's form goes into the query). Raises EngineError."""
        answer = self._request(method, path, form or {}, self.login()["accessToken"])
        if answer["code"] != 0:
            raise EngineError(f"nacos: {method} {path}: {answer['code']} {answer['message']}")
        return answer["data"]

    def login(self) -> dict[str, Any]:
        """What the administrator gets for the password: accessToken, tokenTtl (seconds) … Raises EngineError."""
        return self._request("POST", "/v3/auth/user/login", {"username": USER, "password": self.password})

    def _ready(self) -> bool:
        try:
            self._request("GET", "/v3/admin/core/state/readiness", {})
            if not json.loads(self._facts.read_text()).get("user"):
                self._request("POST", "/v3/auth/user/admin", {"password": self.password})
                self._note(user=USER)
            self.login()
        except (EngineError, OSError):
            return False
        return True

    def _request(self, method: str, path: str, form: Mapping[str, str], token: str = "") -> dict[str, Any]:
        text = urllib.parse.urlencode(form)
        url = f"{self.http}/nacos{path}" + (f"?{text}" if method == "GET" and text else "")
        request = urllib.request.Request(url, None if method == "GET" else text.encode(), method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as refusal:
            raise EngineError(
                f"nacos: {method} {path}: {refusal.code} {refusal.read().decode(errors='replace')[:500]}"
            ) from None

    def _make(self) -> None:
        for needed in ("conf", "logs", "tmp"):
            (self.folder / needed).mkdir(parents=True, exist_ok=True)
        self._note(
            port=free_port(self._preferred, also=_BESIDE),
            password=secrets.token_urlsafe(18),
            identity=secrets.token_urlsafe(18),
            token_secret=base64.b64encode(secrets.token_bytes(48)).decode(),
        )

    def _configure(self) -> None:
        own = {
            "nacos.server.main.port": self.port,
            "nacos.core.auth.server.identity.key": "parley-engines",
            "nacos.core.auth.server.identity.value": self._fact("identity"),
            "nacos.core.auth.plugin.nacos.token.secret.key": self._fact("token_secret"),
            **self._settings,
        }
        added = "".join(f"{name}={value}\n" for name, value in own.items())
        write_private(
            self.folder / "conf" / "application.properties",
            (_HOME / "application.properties").read_text() + added,
        )

    def _note(self, **facts: object) -> None:
        known = json.loads(self._facts.read_text()) if self._facts.exists() else {}
        half = self._facts.with_suffix(".new")
        write_private(half, json.dumps({**known, **facts}))
        half.rename(self._facts)

    def _fact(self, name: str) -> str:
        try:
            return str(json.loads(self._facts.read_text())[name])
        except FileNotFoundError:
            raise EngineError("this Nacos was never started") from None


def _compiled() -> Jars:
    """The jars with NacosMain among them."""
    found = jars(_HOME / "pom.xml", _MAIN)
    with found.once("main") as first:
        if first:
            _compile(found)
    return found


def _compile(found: Jars) -> None:
    with TemporaryDirectory() as classes:
        compiler = ["org.eclipse.jdt.internal.compiler.batch.Main", "-17", "-proc:none", "-d", classes]
        ran = subprocess.run(
            [java(), "-cp", found.classpath, *compiler, "-cp", found.classpath, str(_MAIN)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if ran.returncode != 0:
            raise EngineError(f"{_MAIN.name} does not compile:\n{ran.stderr.strip()[-2000:]}")
        with zipfile.ZipFile(found.folder / "lib" / "0-main.jar", "w") as jar:
            for path in Path(classes).glob("*.class"):
                jar.write(path, path.name)


def _classpath(found: Jars) -> str:
    """Both hessian jars are needed and have classes of one name: unless com.caucho's (4.x) comes first, no gRPC push ever arrives."""
    ordered = found.classpath.split(os.pathsep)
    return os.pathsep.join(sorted(ordered, key=lambda path: not Path(path).name.startswith("hessian-4.")))
