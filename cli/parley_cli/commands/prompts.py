"""`parley prompts`: what agents tell their models, versioned in the registry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parley_cli.gathered import gathered
from parley_cli.meant import Meant
from parley_cli.options import AllNamespaces, AllVersions, Json, Misuse, chosen_namespace, one_or_all
from parley_cli.promptfile import defaults, pair, told_in
from parley_cli.promptview import put_prompts, put_version, show_prompt, show_prompts, show_version

if TYPE_CHECKING:
    from parley_registry.client import Registry
    from parley_registry.prompts.prompt import Prompt, PromptKey, PromptVersion, Pushed
    from parley_registry.prompts.source import PromptSource

app = typer.Typer(no_args_is_help=True, help="Keep the prompts of agents in the registry.")

Name = Annotated[str, typer.Argument(help="The prompt's name.")]
Versioned = Annotated[str, typer.Argument(help="The prompt's name, or NAME@VERSION.")]
Label = Annotated[str, typer.Option(envvar="PARLEY_LABEL", help="Label whose version is meant.")]
Agent = Annotated[
    str, typer.Option(envvar="PARLEY_AGENT", metavar="NAME@VERSION", help="The agent version that asks.")
]
Remove = Annotated[bool, typer.Option("--remove", envvar="PARLEY_REMOVE", help="Take it away.")]


@app.command("list")
@gathered(meant=Meant)
def list_(
    text: Annotated[list[str] | None, typer.Argument(help="Words in name or description.")] = None,
    everywhere: AllNamespaces = False,
    limit: Annotated[
        int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=200, help="How many at most.")
    ] = 100,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """The prompts there are, and where their labels point."""
    page = meant.ask(
        lambda registry: registry.prompts.list(
            chosen_namespace(registry.namespace, meant.namespace, everywhere), " ".join(text or ()), limit
        )
    )
    if as_json:
        put_prompts(page.prompts)
        return
    if page.prompts:
        show_prompts(page.prompts)
    if page.next:
        typer.echo(f"the first {len(page.prompts)}; narrow the search or raise --limit", err=True)
    if not page.prompts:
        typer.echo(
            "no prompt fits" if text else "there are no prompts yet; `parley prompts push FILE` keeps one",
            err=True,
        )


@app.command()
@gathered(meant=Meant)
def show(name: Versioned, as_json: Json = False, *, meant: Meant) -> None:
    """A prompt with its versions, labels and bindings, or the text of one version."""
    plain, _, version = name.partition("@")
    if version:
        found = meant.ask(lambda registry: registry.prompts.version(_key(registry, plain), version))
        put_version(found) if as_json else show_version(found)
        return
    prompt = meant.ask(lambda registry: registry.prompts.get(_key(registry, plain)))
    if as_json:
        put_prompts([prompt])
        return
    show_prompt(prompt)


@app.command()
@gathered(meant=Meant)
def push(
    file: Annotated[
        Path, typer.Argument(help="The template as text, or a .json file with all of a version.")
    ],
    name: Annotated[
        str, typer.Option(envvar="PARLEY_NAME", help="The prompt's name. Default: that of the file")
    ] = "",
    version: Annotated[
        str, typer.Option(envvar="PARLEY_VERSION", help="Its version, as 1.2.0. Default: that of the .json")
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(envvar="PARLEY_LABEL", help="Label that points to it from now on; may be repeated."),
    ] = None,
    default: Annotated[
        list[str] | None,
        typer.Option(
            envvar="PARLEY_DEFAULT", metavar="NAME=TEXT", help="Default of a variable; may be repeated."
        ),
    ] = None,
    description: Annotated[
        str, typer.Option(envvar="PARLEY_DESCRIPTION", help="What this version is about.")
    ] = "",
    author: Annotated[str, typer.Option(envvar="PARLEY_AUTHOR", help="Who wrote it.")] = "",
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Push a new version of a prompt. A version never changes; the same again is no error."""
    given = {"name": name, "version": version, "description": description, "author": author}
    told = told_in(file) | {key: value for key, value in given.items() if value}
    if default:
        told["variables"] = [*told.get("variables", []), *defaults(default)]
    told["labels"] = [*told.get("labels", []), *(label or ())]
    done = meant.ask(lambda registry: _push(registry, meant.namespace, told))
    if as_json:
        put_version(done.version)
        return
    where = f", {', '.join(told['labels'])}" if told["labels"] else ""
    what = "pushed" if done.created else "there already"
    typer.echo(f"{what}: {done.version.name} {done.version.version}{where}")


@app.command("label")
@gathered(meant=Meant)
def label_(
    name: Name,
    label: Annotated[str, typer.Argument(help="The label, as production.")],
    version: Annotated[str, typer.Argument(help="The version that it points to from now on.")] = "",
    remove: Remove = False,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Have a label point to a version: agents that ask for it get that version within a second."""
    _one_of(version, remove, f"parley prompts label {name} {label}")
    done = meant.ask(
        lambda registry: (
            registry.prompts.unlabel(_key(registry, name), label)
            if remove
            else registry.prompts.label(_key(registry, name), label, version)
        )
    )
    _tell(done, f"{label} of {name} is {'removed' if remove else version}", as_json)


@app.command()
@gathered(meant=Meant)
def bind(
    name: Name,
    agent: Annotated[str, typer.Argument(help="The agent's version, as coder@2.0.0.")],
    version: Annotated[
        str, typer.Argument(help="The version that it gets, whatever label it asks for.")
    ] = "",
    remove: Remove = False,
    as_json: Json = False,
    *,
    meant: Meant,
) -> None:
    """Give one version of an agent a version of a prompt of its own: what a canary tries."""
    who = _agent(agent)
    _one_of(version, remove, f"parley prompts bind {name} {agent}")
    done = meant.ask(
        lambda registry: (
            registry.prompts.unbind(_key(registry, name), who)
            if remove
            else registry.prompts.bind(_key(registry, name), who, version)
        )
    )
    _tell(done, f"{who} gets {'what its label says' if remove else version} of {name}", as_json)


@app.command()
@gathered(meant=Meant)
def delete(name: Versioned, every: AllVersions = False, *, meant: Meant) -> None:
    """Delete a version that no label and no agent version names, or a whole prompt."""
    plain, version = one_or_all(name, every)
    meant.ask(lambda registry: registry.prompts.delete(_key(registry, plain), version or None))
    typer.echo(f"deleted: {plain} {version or 'with all its versions'}")


@app.command()
@gathered(meant=Meant)
def render(
    name: Versioned,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=TEXT…", help="Values of its variables.")
    ] = None,
    label: Label = "production",
    agent: Agent = "",
    *,
    meant: Meant,
) -> None:
    """The text that an agent would get: of one version, or of the one that a label and its agent version mean."""
    plain, _, version = name.partition("@")
    given = dict(pair(one) for one in values or ())
    found = meant.ask(
        lambda registry: _chosen(registry.prompts, _key(registry, plain), version, label, agent)
    )
    typer.echo(found.render(given))


async def _push(registry: "Registry", namespace: str, told: dict[str, Any]) -> "Pushed":
    import time

    from parley_registry.prompts.check import check_prompt

    where = namespace or told.get("namespace") or registry.namespace
    version, labels = check_prompt(told | {"namespace": where}, now=time.time())
    return await registry.prompts.push(version, labels)


async def _chosen(
    source: "PromptSource", key: "PromptKey", version: str, label: str, agent: str
) -> "PromptVersion":
    if not version:
        version = (await source.get(key)).chosen(label, _agent(agent) if agent else None)
    return await source.version(key, version)


def _key(registry: "Registry", name: str) -> "PromptKey":
    from parley_registry.prompts.prompt import PromptKey

    return PromptKey(registry.namespace, name)


def _agent(text: str) -> Any:
    from parley_registry.prompts.prompt import AgentVersion

    found = AgentVersion.parse(text)
    if not found.version:
        raise Misuse(f"say which version of the agent is meant, as {text or 'coder'}@2.0.0")
    return found


def _one_of(version: str, remove: bool, call: str) -> None:
    if bool(version) == remove:
        raise Misuse(f"give a version or --remove: {call} 1.2.0")


def _tell(prompt: "Prompt", what: str, as_json: bool) -> None:
    if as_json:
        put_prompts([prompt])
    else:
        typer.echo(what)
