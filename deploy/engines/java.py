"""Servers written in Java: their jars, fetched once by Maven into the user's cache, and how to run them."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from engines.errors import EngineError
from engines.server import Server


def cache() -> Path:
    """The folder of what is fetched or made once for all: `$XDG_CACHE_HOME/parley/engines`."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parley" / "engines"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def java() -> str:
    """The java program, of JAVA_HOME or the PATH. Raises EngineError saying which package has it."""
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not found or not Path(found).exists():
        raise EngineError(
            "Java 17 or newer is needed: on Debian or Ubuntu `apt-get install default-jre-headless`, elsewhere set JAVA_HOME"
        )
    return found


@dataclass(frozen=True, slots=True)
class Jars:
    """A server's jars, and beside them what speeds up its start (see archive_options)."""

    folder: Path

    @property
    def classpath(self) -> str:
        """For `java -cp`. Its order is part of what an archive of classes is valid for."""
        return os.pathsep.join(map(str, sorted((self.folder / "lib").glob("*.jar"))))

    def archive_options(self, program: str, *, make: bool = False) -> list[str]:
        """Java options that use the archive of a program's loaded classes, or write it when the program ends: see keep_archives()."""
        archive = self.folder / f"{program}.jsa"
        if make:
            written = archive.with_suffix(".half")
            return [f"-XX:ArchiveClassesAtExit={written}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"] if archive.exists() else []

    def keep_archives(self) -> None:
        """Use from now on what programs wrote that were started to make their archive: when they ran well."""
        for written in self.folder.glob("*.half"):
            written.rename(written.with_suffix(".jsa"))

    def with_archives(self, trial: Callable[[], Server]) -> Self:
        """The same. The first time on a machine run the server that `trial` makes once, to keep the archives of its classes:
        later starts are several times faster. Raises EngineError."""
        with self.once("archive") as first:
            if first:
                with closing(trial()) as server:
                    server.start()
                    server.stop()
                self.keep_archives()
        return self

    @contextmanager
    def once(self, what: str) -> Iterator[bool]:
        """Under a lock of all processes: True for the first to come here ever; the rest wait for it and get False.
        One that fails leaves the place to the next."""
        done = self.folder / f"{what}.done"
        with (self.folder / f"{what}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield not done.exists()
            done.touch()


def jars(pom: Path, *sources: Path) -> Jars:
    """What the pom depends on: fetched the first time (under a lock), the same folder ever after. Raises EngineError.
    `sources` are what is compiled against it: a folder is good for one text of them."""
    version = subprocess.run([java(), "-version"], capture_output=True, timeout=30, check=True).stderr
    texts = [path.read_bytes() for path in (pom, *sources)]
    key = hashlib.sha256(b"".join([*texts, version])).hexdigest()[:12]
    folder = cache() / f"{pom.parent.name}-{key}"
    with (cache() / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch(pom, folder)
    return Jars(folder)


def _fetch(pom: Path, folder: Path) -> None:
    if not shutil.which("mvn"):
        raise EngineError(
            "Maven fetches this server: on Debian or Ubuntu `apt-get install maven`, elsewhere put `mvn` on the PATH"
        )
    half = folder.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={half / 'lib'}"]
    ran = subprocess.run(
        ["mvn", "-q", "-B", "-f", str(pom), *copy], capture_output=True, text=True, timeout=900, check=False
    )
    if ran.returncode != 0:
        raise EngineError(f"Maven could not fetch {pom.parent.name}:\n{ran.stdout.strip()[-2000:]}")
    half.rename(folder)
