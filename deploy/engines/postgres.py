"""PostgreSQL: a cluster of its own on a port of its own, as the operating system's package has it."""

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from engines.errors import EngineError
from engines.ports import free_port
from engines.program import Account
from engines.server import SingleServer

Mode = Literal["smart", "fast", "immediate"]
STOP = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# What a production server has by default stays (fsync, full_page_writes, synchronous_commit).
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "jit": "off",
}


def binaries() -> Path:
    """The folder of initdb and postgres. Raises EngineError saying which package has them."""
    packaged = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    on_path = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    for folder in [*packaged, *on_path]:
        if all((folder / program).exists() for program in ("initdb", "postgres", "psql")):
            return folder
    raise EngineError(
        "PostgreSQL is not installed: on Debian or Ubuntu `apt-get install postgresql`, on Fedora "
        "`dnf install postgresql-server`, on macOS `brew install postgresql`"
    )


def account() -> Account | None:
    """Whom the server runs as: PostgreSQL refuses root, so root starts it as `postgres`, or `nobody`. Others as they are."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EngineError(
        "PostgreSQL does not run as root and there is no user `postgres`: `useradd --system postgres`"
    )


class Postgres(SingleServer):
    """One server. All calls block (start ~1 s the first time, ~0.2 s again); the super-user is `parley`.

    Without a folder its data is temporary: it goes with stop() of the `with` block or the end of this process, even by kill -9.
    """

    def __init__(
        self, folder: Path | None = None, *, port: int = 0, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("postgres", folder)
        self._settings = {**SETTINGS, **(settings or {})}
        self._facts = self.folder.with_suffix(".json")
        self._preferred = port

    @property
    def port(self) -> int:
        """The port that it keeps from its first start on."""
        return int(self._fact("port"))

    @property
    def dsn(self) -> str:
        """`postgresql://parley:…@127.0.0.1:port/parley`."""
        return self.address("parley")

    def address(self, database: str) -> str:
        """The address of a database by name."""
        return f"postgresql://parley:{self._fact('password')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Start it and return once it takes connections; the first time make cluster and database. Raises EngineError."""
        bin_, who = binaries(), account()
        if not self._facts.exists():
            self._make(bin_, who)
        data = self.folder
        options = [f"--{name}={value}" for name, value in {**self._settings, "port": str(self.port)}.items()]
        self._program.start([str(bin_ / "postgres"), "-D", str(data), *options], cwd=data, account=who)
        self._program.wait_until(self._accepts)
        return self

    def stop(self, mode: Mode = "fast") -> None:
        """Shut it down as `pg_ctl stop -m mode` does; data and port stay for the next start."""
        self._program.stop(STOP[mode])

    def restart(self, mode: Mode = "fast") -> None:
        """Stop if it runs, and start on the same port and data."""
        self.stop(mode)
        self.start()

    def create_database(self, name: str | None = None) -> str:
        """A new empty database; its address. Raises EngineError."""
        name = name or f"t{secrets.token_hex(6)}"
        self.execute(f'CREATE DATABASE "{name}"', database="postgres")
        return self.address(name)

    def drop_database(self, dsn: str) -> None:
        """Drop what create_database() made, sessions on it included."""
        name = dsn.rpartition("/")[2].partition("?")[0]
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', database="postgres")

    def execute(self, sql: str, *, database: str = "parley", timeout: float = 60) -> str:
        """Run SQL as super-user by psql, for what a test does behind the program's back; unaligned rows. Raises EngineError."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "parley", "-d", database]
        psql = [str(binaries() / "psql"), "-XqAtw", "-v", "ON_ERROR_STOP=1", *where, "-c", sql]
        return _run(psql, environment={"PGPASSWORD": self._fact("password")}, timeout=timeout)

    def _make(self, bin_: Path, who: Account | None) -> None:
        """Cluster, super-user and database; the facts are written last, so a half-made one is made again."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        password = secrets.token_urlsafe(18)
        pwfile = self.folder.with_suffix(".password")
        pwfile.touch(mode=0o600)
        pwfile.write_text(password)
        if who:
            os.chown(self.folder, who.uid, who.gid)
            os.chown(pwfile, who.uid, who.gid)
        auth = ["--username=parley", f"--pwfile={pwfile}", "--auth=scram-sha-256"]
        try:
            _run(
                [
                    str(bin_ / "initdb"),
                    "-D",
                    str(self.folder),
                    "--encoding=UTF8",
                    "--no-locale",
                    "--no-sync",
                    *auth,
                ],
                account=who,
            )
        finally:
            pwfile.unlink()
        _run(
            [str(bin_ / "postgres"), "--single", "-D", str(self.folder), "postgres"],
            "CREATE DATABASE parley\n",
            account=who,
        )
        half = self._facts.with_suffix(".new")
        half.touch(mode=0o600)
        half.write_text(json.dumps({"port": free_port(self._preferred), "password": password}))
        half.rename(self._facts)

    def _fact(self, name: str) -> str:
        try:
            return str(json.loads(self._facts.read_text())[name])
        except FileNotFoundError:
            raise EngineError("this PostgreSQL was never started") from None

    def _accepts(self) -> bool:
        # As pg_ctl does: the server writes its state into the eighth line; after kill -9 an old file lies there.
        try:
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self._program.pid) and lines[7].strip() == "ready"


def _run(
    command: list[str],
    said: str = "",
    *,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> str:
    ran = subprocess.run(
        command,
        input=said,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd="/",
        env={**os.environ, **(environment or {})},
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if ran.returncode != 0:
        raise EngineError(f"{Path(command[0]).name}: {ran.stderr.strip() or ran.stdout.strip()}")
    return ran.stdout.strip()
