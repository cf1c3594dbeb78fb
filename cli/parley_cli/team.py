"""The processes that make up an embedded platform, and how each is started."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from parley_cli.home import Home
from parley_cli.overnacos import NO_NACOS, OverNacos
from parley_core.errors import ConfigurationError

ORCHESTRATOR = "orchestrator"
REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Member:
    """A process to be kept running.

    `command` is formatted with `{listen}` (host:port), `{url}`, `{store}` (a database URL of its own) and
    `{registry}` (the registry's URL). `skill` is what must be found in the registry before the platform is
    ready, or "".
    """

    name: str
    command: tuple[str, ...]
    skill: str = ""
    card: Path | None = None
    """The card it publishes."""
    store: str = ""
    """The name of its database, if that is another than its own."""

    def arguments(self, home: Home, port: int, registry: str) -> list[str]:
        """The command line of this member on a port of 127.0.0.1."""
        values = {
            "listen": f"127.0.0.1:{port}",
            "url": f"http://127.0.0.1:{port}",
            "store": f"sqlite:///{home.data / (self.store or self.name)}.db",
            "registry": registry,
        }
        return [word.format(**values) for word in self.command]


def _host(role: str, executor: str, skill: str) -> Member:
    card = _folder("parley_agents") / role / "card.json"
    command = (
        *(sys.executable, "-m", "parley_cli.main", "host", f"parley_agents.{role}:{executor}"),
        *("--card", str(card).replace("{", "{{").replace("}", "}}")),
        *("--listen", "{listen}", "--store", "{store}", "--registry", "{registry}"),
    )
    return Member(role, command, skill, card)


def _folder(package: str) -> Path:
    """Where a package lies, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"{package} is not installed; run `make setup`")
    return Path(spec.submodule_search_locations[0])


def default_team(over: OverNacos = NO_NACOS) -> tuple[Member, ...]:
    """The registry (`over` a Nacos it keeps another database: a copy), the orchestrator and the four agents it delegates to."""
    registry = (
        sys.executable,
        "-m",
        "parley_cli.main",
        "registry",
        "--listen",
        "{listen}",
        "--store",
        "{store}",
    )
    return (
        Member(REGISTRY, registry, store=over.store(REGISTRY)),
        _host(ORCHESTRATOR, "Orchestrator", "deliver-change"),
        _host("planner", "Planner", "plan-change"),
        _host("coder", "Coder", "edit-code"),
        _host("reviewer", "Reviewer", "review-change"),
        _host("tester", "Tester", "run-tests"),
    )
