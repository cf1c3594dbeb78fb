"""RocketMQ 5.5: name server, broker and proxy (in cluster mode), each a process that can be killed alone."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Self

from engines.certificate import make_certificate
from engines.errors import EngineError
from engines.files import write_private
from engines.java import Jars, jars, java
from engines.ports import free_port
from engines.program import Program
from engines.rocketmq_access import Access
from engines.server import Server

Part = Literal["namesrv", "broker", "proxy"]
PARTS: tuple[Part, ...] = ("namesrv", "broker", "proxy")

_HOME = Path(__file__).parents[1] / "rocketmq"
_MAIN = {
    "namesrv": "org.apache.rocketmq.namesrv.NamesrvStartup",
    "broker": "org.apache.rocketmq.broker.BrokerStartup",
    "proxy": "org.apache.rocketmq.proxy.ProxyStartup",
}
_MEMORY = {
    "namesrv": ("-Xms32m", "-Xmx96m", "-XX:MaxDirectMemorySize=64m"),
    "broker": ("-Xms128m", "-Xmx384m", "-XX:MaxDirectMemorySize=256m"),
    "proxy": ("-Xms96m", "-Xmx256m", "-XX:MaxDirectMemorySize=256m"),
}
# An open port means little: the broker opens its own long before it serves.
_READY = {"namesrv": "boot success", "broker": "boot success", "proxy": "startup successfully"}
_OPENED = [
    f"--add-{kind}=java.base/{package}=ALL-UNNAMED"
    for kind, package in (
        ("exports", "jdk.internal.ref"),
        ("exports", "sun.nio.ch"),
        ("opens", "java.nio"),
        ("opens", "sun.nio.ch"),
    )
]
_PROXY_TRIES = 6


class RocketMQ(Server):
    """One cluster of three processes. All calls block (start ~5 s, the very first time on a machine ~1 min: it fetches 100 MB).

    Without a folder its data is temporary and goes with close() or the end of this process, even by kill -9.
    Methods that take parts mean all three when none is named.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int = 0,
        address: str = "127.0.0.1",
        short_lived: bool = False,
        secure: bool = False,
        archive: bool = False,
    ) -> None:
        """`port` is the preferred one of the proxy. `address` is where they listen, and what they tell clients. `short_lived` compiles
        quickly rather than well: half the processor time to start, for tests, not for measuring. `secure`: all three speak TLS
        alone, and every call must be signed by a user who may do it (ACL 2.0). `archive` writes the archives of classes when it is
        stopped."""
        super().__init__("rocketmq", folder)
        self._programs = {part: Program(part, self.folder.parent) for part in PARTS}
        self._host = address
        self._facts = self.folder / "ports.json"
        self._preferred = port
        self._secure = secure
        self._archive = archive
        self._compiler = "-XX:TieredStopAtLevel=1" if short_lived else "-XX:CICompilerCount=2"

    @property
    def url(self) -> str:
        """What `--queue` and `--bus` take: `rocketmq://127.0.0.1:port?namesrv=127.0.0.1:port`; of a secure one
        `rocketmqs://…` with the authority's certificate and the file of the first user's keys."""
        if not self._secure:
            return f"rocketmq://{self.proxy}?namesrv={self.namesrv}"
        return f"rocketmqs://{self.proxy}?namesrv={self.namesrv}&ca={self.ca}&credentials={self.credentials}"

    @property
    def proxy(self) -> str:
        """host:port of the proxy's gRPC, plain or TLS."""
        return self._address("proxy")

    @property
    def namesrv(self) -> str:
        """host:port of the name server."""
        return self._address("namesrv")

    @property
    def broker(self) -> str:
        """host:port of the broker's remoting protocol."""
        return self._address("broker")

    @property
    def ca(self) -> Path:
        """The certificate that the proxy shows (for localhost and 127.0.0.1), which is its own authority."""
        return self.folder / "conf" / "tls" / "rocketmq.crt"

    @property
    def credentials(self) -> Path:
        """Of a secure one: the keys of its first user, who may do all, as RocketMQ's tools take them."""
        return self.folder / "conf" / "tools.yml"

    @classmethod
    def fetch(cls) -> Jars:
        """The jars, ready to run. Raises EngineError."""
        return jars(_HOME / "pom.xml").with_archives(lambda: cls(archive=True))

    def running(self, *parts: Part) -> bool:
        """Whether the processes are there."""
        return all(self._programs[part].running for part in parts or PARTS)

    def pid(self, part: Part) -> int | None:
        """A part's process while it runs."""
        return self._programs[part].pid

    def log(self, part: Part) -> str:
        """The end of what a part wrote to its output (the rest is under folder/logs)."""
        return self._programs[part].tail(200)

    def start(self, *parts: Part) -> Self:
        """Start those that do not run, in order; on return they are ready, on the ports they had. Raises EngineError."""
        found = jars(_HOME / "pom.xml") if self._archive else self.fetch()
        if not self._facts.exists():
            self._make()
        starts: dict[Part, Callable[[Jars], None]] = {
            "namesrv": self._start_namesrv,
            "broker": self._start_broker,
            "proxy": self._start_proxy,
        }
        for part in PARTS:
            if (not parts or part in parts) and not self._programs[part].running:
                starts[part](found)
        return self

    def stop(self, *parts: Part) -> None:
        """SIGTERM; the name server last, whom the others tell that they leave. Proxy and broker take their time."""
        clients = [self._programs[part] for part in ("proxy", "broker") if not parts or part in parts]
        with ThreadPoolExecutor() as each:
            list(each.map(Program.stop, clients))
        if not parts or "namesrv" in parts:
            self._programs["namesrv"].stop()

    def kill(self, *parts: Part) -> None:
        """kill -9."""
        for part in parts or PARTS:
            self._programs[part].kill()

    def restart(self, *parts: Part) -> None:
        """Stop and start on the same ports and data."""
        self.stop(*parts)
        self.start(*parts)

    def pause(self, *parts: Part) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        for part in parts or PARTS:
            self._programs[part].pause()

    def resume(self, *parts: Part) -> None:
        """Go on after pause()."""
        for part in parts or PARTS:
            self._programs[part].resume()

    def _start_namesrv(self, found: Jars) -> None:
        self._launch("namesrv", found, "-c", str(self.folder / "conf" / "namesrv.conf"))
        self._await("namesrv")

    def _start_broker(self, found: Jars) -> None:
        self._launch("broker", found, "-c", str(self.folder / "conf" / "broker.conf"))
        self._await("broker")

    def _start_proxy(self, found: Jars) -> None:
        # The broker says that it is ready a moment before the name server knows it, and a proxy started in that moment ends.
        for left in reversed(range(_PROXY_TRIES)):
            self._launch("proxy", found, "-pm", "cluster", "-pc", str(self.folder / "conf" / "proxy.json"))
            try:
                return self._await("proxy")
            except EngineError:
                if not left or self._programs["proxy"].running:
                    raise
                time.sleep(0.5)

    def _launch(self, part: Part, found: Jars, *arguments: str) -> None:
        home, port = self.folder, self._port("namesrv")
        options = [
            *_MEMORY[part],
            *found.archive_options(part, make=self._archive),
            *("-XX:+UseSerialGC", "-XX:-UsePerfData", self._compiler),
            "-Djava.net.preferIPv4Stack=true",
            *self._encryption(),
            # Its logs, and the native library that RocksDB unpacks at each start, stay in the folder.
            *(f"-Duser.home={home}", f"-Djava.io.tmpdir={home / 'tmp'}", f"-Drocketmq.home.dir={home}"),
            *_OPENED,
        ]
        self._programs[part].start(
            [java(), *options, "-cp", found.classpath, _MAIN[part], *arguments],
            cwd=home,
            environment={
                "NAMESRV_ADDR": f"{self._host}:{port}",
                "ROCKETMQ_HOME": str(home),
                "RMQ_PROXY_HOME": str(home),
            },
        )

    def _encryption(self) -> list[str]:
        if not self._secure:
            return ["-Dtls.server.mode=disabled"]
        settings = self.folder / "conf" / "tls" / "tls.properties"
        return ["-Dtls.server.mode=enforcing", "-Dtls.enable=true", f"-Dtls.config.file={settings}"]

    def _await(self, part: Part) -> None:
        program = self._programs[part]
        program.wait_until(lambda: program.said(_READY[part]), timeout=90)

    def _make(self) -> None:
        """Configuration; the facts are written last, so a half-made one is made again."""
        conf = self.folder / "conf"
        for needed in (conf / "tls", self.folder / "tmp"):
            needed.mkdir(parents=True, exist_ok=True)
        # The broker also listens two ports below its own.
        ports = {
            "namesrv": free_port(),
            "broker": free_port(also=[-2]),
            "ha": free_port(),
            "proxy": free_port(self._preferred),
            "remoting": free_port(),
        }
        key = conf / "tls" / "rocketmq.key"
        make_certificate(self.ca, key)
        (conf / "namesrv.conf").write_text(f"bindAddress={self._host}\nlistenPort={ports['namesrv']}\n")
        broker = {
            "brokerIP1": self._host,
            "brokerIP2": self._host,
            "bindAddress": self._host,
            "listenPort": ports["broker"],
            "haListenPort": ports["ha"],
            "namesrvAddr": f"{self._host}:{ports['namesrv']}",
            "storePathRootDir": self.folder / "store",
        }
        access = Access.make(conf, self.ca, key) if self._secure else None
        broker |= access.broker if access else {}
        added = "".join(f"{name}={value}\n" for name, value in broker.items())
        write_private(conf / "broker.conf", (_HOME / "broker.conf").read_text() + added)
        proxy = {
            **json.loads((_HOME / "proxy.json").read_text()),
            "namesrvAddr": broker["namesrvAddr"],
            "localServeAddr": self._host,
            "grpcServerPort": ports["proxy"],
            "remotingListenPort": ports["remoting"],
            **(access.proxy if access else {}),
        }
        write_private(conf / "proxy.json", json.dumps(proxy, indent=2))
        self._facts.write_text(json.dumps(ports))

    def _port(self, part: Part) -> int:
        try:
            return int(json.loads(self._facts.read_text())[part])
        except FileNotFoundError:
            raise EngineError("this RocketMQ was never started") from None

    def _address(self, part: Part) -> str:
        return f"{self._host}:{self._port(part)}"
