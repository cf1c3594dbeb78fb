"""`kubectl parley rollout …`: `parley rollout …` of an Agent in a cluster, whose registry kubectl names.

kubectl runs what is called `kubectl-parley` on the path. `-n`, `--context`, `--kubeconfig` and so on mean what they mean to
kubectl and are passed on to it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, NoReturn
from urllib.parse import parse_qs, urlsplit

import typer

from parley_cli.options import Misuse

_THEIRS = ("-n", "--namespace", "--context", "--kubeconfig", "--cluster", "--user", "--server", "-s")
"""Options of kubectl's, each with a value."""
_SECONDS = 30.0
_USAGE = (
    "usage: kubectl parley rollout VERB AGENT [-n NAMESPACE] [--context NAME] [options of `parley rollout`]"
)


class Place(NamedTuple):
    """Where the registry has an agent: the registry's own address, and the namespace there."""

    registry: str
    namespace: str


def main() -> None:
    """Run the plugin with the arguments of this process."""
    from parley_cli.main import guarded

    guarded(lambda: _run(sys.argv[1:]))


def _run(words: Sequence[str]) -> None:
    ours, theirs = divided(words)
    if ours[:1] != ["rollout"] or {"-h", "--help"} & set(ours) or len(ours) < 3:
        _parley(ours if ours[:1] == ["rollout"] else ["rollout", "--help"])
    if any(one.partition("=")[0] == "--registry" for one in ours) or os.environ.get("PARLEY_REGISTRY"):
        _parley(ours)
    place = _place(_agent(ours[1], ours[2:]), theirs)
    with _reached(place.registry, theirs) as registry:
        _parley(
            [*ours, "--registry", registry, *(["--namespace", place.namespace] if place.namespace else [])]
        )


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words for `parley`, and the options for kubectl."""
    ours: list[str] = []
    theirs: list[str] = []
    left = iter(words)
    for word in left:
        name, separator, _ = word.partition("=")
        if name not in _THEIRS:
            ours.append(word)
        elif separator:
            theirs.append(word)
        else:
            theirs += [word, next(left, "")]
    return ours, theirs


def _agent(verb: str, words: list[str]) -> str:
    from parley_cli.main import app

    rollout = typer.main.get_command(app).commands["rollout"]  # type: ignore[attr-defined]
    command = rollout.commands.get(verb)
    if command is None:
        raise Misuse(f"there is no `rollout {verb}`; there are {', '.join(rollout.commands)}. {_USAGE}")
    with command.make_context(verb, list(words), resilient_parsing=True) as context:
        agent = context.params.get("agent")
    if not agent:
        raise Misuse(f"name the Agent. {_USAGE}")
    return str(agent)


def _place(agent: str, theirs: Sequence[str]) -> Place:
    told = _kubectl(
        [*theirs, "get", "agents.parley.dev", agent, "-o", "jsonpath={.status.registryUrl}"]
    ).strip()
    if not told:
        raise Misuse(
            f"the Agent {agent} is not in a registry yet: `kubectl describe agent {agent}` says why; a registry of your own "
            "is named with --registry"
        )
    base, _, _ = told.partition("/v1/agents/")
    return Place(base, parse_qs(urlsplit(told).query).get("namespace", [""])[0])


@contextmanager
def _reached(registry: str, theirs: Sequence[str]) -> Iterator[str]:
    """The registry's address as this machine reaches it: a Service of the cluster through kubectl."""
    parts = urlsplit(registry)
    name, _, rest = (parts.hostname or "").partition(".")
    namespace, _, kind = rest.partition(".")
    if kind.partition(".")[0] != "svc":
        yield registry
        return
    without = _without_namespace(theirs)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    words = [*without, "-n", namespace, "port-forward", "--address", "127.0.0.1", f"svc/{name}", f":{port}"]
    forward = subprocess.Popen([_program(), *words], stdout=subprocess.PIPE, text=True)
    try:
        assert forward.stdout is not None
        said = forward.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 8420; nothing when it could not
        if not said:
            raise Misuse(
                f"kubectl cannot forward to the registry's Service {name} in {namespace}; name the registry with --registry"
            )
        here = said.split()[2]
        yield f"{parts.scheme}://{here}{parts.path}"
    finally:
        forward.terminate()
        forward.wait(_SECONDS)


def _without_namespace(theirs: Sequence[str]) -> list[str]:
    kept: list[str] = []
    left = iter(theirs)
    for word in left:
        if word in ("-n", "--namespace"):
            next(left, "")
        elif not word.startswith(("-n=", "--namespace=")):
            kept.append(word)
    return kept


def _kubectl(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            [_program(), *words], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Misuse(f"kubectl did not answer in {_SECONDS:.0f} s; is the cluster there?") from error
    if done.returncode:
        raise Misuse(done.stderr.strip() or f"kubectl ended with {done.returncode}")
    return done.stdout


def _program() -> str:
    found = shutil.which("kubectl")
    if found is None:
        raise Misuse("there is no kubectl on the path")
    return found


def _parley(words: Sequence[str]) -> NoReturn:
    from parley_cli.main import app

    app(args=list(words), prog_name="kubectl parley")
    raise SystemExit(0)


if __name__ == "__main__":
    main()
