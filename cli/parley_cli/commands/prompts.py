"""`parley prompts`: what agents tell their models, versioned in the registry."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from parley_cli.options import (
    AllNamespaces,
    Json,
    Misuse,
    Namespace,
    Registry,
    TokenFile,
    chosen_namespace,
    complete,
    registry_of,
)
from parley_cli.promptfile import defaults, pair, told_in
from parley_cli.promptview import put_prompts, put_version, show_prompt, show_prompts, show_version

if TYPE_CHECKING:
    from parley_registry.prompts.prompt import Prompt, PromptKey, PromptVersion
    from parley_registry.prompts.source import PromptSource

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Keep the prompts of agents in the registry.")

Name = Annotated[str, typer.Argument(help="The prompt's name.")]
Versioned = Annotated[str, typer.Argument(help="The prompt's name, or NAME@VERSION.")]
Label = Annotated[str, typer.Option(envvar="PARLEY_LABEL", help="Label whose version is meant.")]
Agent = Annotated[
    str, typer.Option(envvar="PARLEY_AGENT", metavar="NAME@VERSION", help="The agent version that asks.")
]
Remove = Annotated[bool, typer.Option("--remove", envvar="PARLEY_REMOVE", help="Take it away.")]


@app.command("list")
def list_(
    context: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(help="Words in name or description.")] = None,
    namespace: Namespace = "",
    everywhere: AllNamespaces = False,
    limit: Annotated[
        int, typer.Option(envvar="PARLEY_LIMIT", min=1, max=200, help="How many at most.")
    ] = 100,
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """The prompts there are, and where their labels point."""
    page = complete(
        _on(
            context,
            registry,
            namespace,
            token_file,
            lambda all_, here: all_.list(
                chosen_namespace(here, namespace, everywhere), " ".join(text or ()), limit
            ),
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
def show(
    context: typer.Context,
    name: Versioned,
    namespace: Namespace = "",
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """A prompt with its versions, labels and bindings, or the text of one version."""
    plain, _, version = name.partition("@")
    if version:
        found = complete(
            _on(
                context,
                registry,
                namespace,
                token_file,
                lambda all_, here: all_.version(_key(here, plain), version),
            )
        )
        put_version(found) if as_json else show_version(found)
        return
    prompt = complete(
        _on(context, registry, namespace, token_file, lambda all_, here: all_.get(_key(here, plain)))
    )
    if as_json:
        put_prompts([prompt])
        return
    show_prompt(prompt)


@app.command()
def push(
    context: typer.Context,
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
    namespace: Namespace = "",
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Push a new version of a prompt. A version never changes; the same again is no error."""
    given = {"name": name, "version": version, "description": description, "author": author}
    told = told_in(file) | {key: value for key, value in given.items() if value}
    if default:
        told["variables"] = [*told.get("variables", []), *defaults(default)]
    told["labels"] = [*told.get("labels", []), *(label or ())]
    done = complete(_push(context, registry, namespace, token_file, told))
    if as_json:
        put_version(done.version)
        return
    where = f", {', '.join(told['labels'])}" if told["labels"] else ""
    what = "pushed" if done.created else "there already"
    typer.echo(f"{what}: {done.version.name} {done.version.version}{where}")


@app.command("label")
def label_(
    context: typer.Context,
    name: Name,
    label: Annotated[str, typer.Argument(help="The label, as production.")],
    version: Annotated[str, typer.Argument(help="The version that it points to from now on.")] = "",
    remove: Remove = False,
    namespace: Namespace = "",
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Have a label point to a version: agents that ask for it get that version within a second."""
    _one_of(version, remove, f"parley prompts label {name} {label}")
    done = complete(
        _on(
            context,
            registry,
            namespace,
            token_file,
            lambda all_, here: (
                all_.unlabel(_key(here, name), label)
                if remove
                else all_.label(_key(here, name), label, version)
            ),
        )
    )
    _tell(done, f"{label} of {name} is {'removed' if remove else version}", as_json)


@app.command()
def bind(
    context: typer.Context,
    name: Name,
    agent: Annotated[str, typer.Argument(help="The agent's version, as coder@2.0.0.")],
    version: Annotated[
        str, typer.Argument(help="The version that it gets, whatever label it asks for.")
    ] = "",
    remove: Remove = False,
    namespace: Namespace = "",
    as_json: Json = False,
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Give one version of an agent a version of a prompt of its own: what a canary tries."""
    who = _agent(agent)
    _one_of(version, remove, f"parley prompts bind {name} {agent}")
    done = complete(
        _on(
            context,
            registry,
            namespace,
            token_file,
            lambda all_, here: (
                all_.unbind(_key(here, name), who) if remove else all_.bind(_key(here, name), who, version)
            ),
        )
    )
    _tell(done, f"{who} gets {'what its label says' if remove else version} of {name}", as_json)


@app.command()
def delete(
    context: typer.Context,
    name: Versioned,
    every: Annotated[
        bool,
        typer.Option("--all-versions", envvar="PARLEY_ALL_VERSIONS", help="Delete all versions there are."),
    ] = False,
    namespace: Namespace = "",
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """Delete a version that no label and no agent version names, or a whole prompt."""
    plain, _, version = name.partition("@")
    if not version and not every:
        raise Misuse(f"name one version as {plain}@VERSION, or give --all-versions")
    complete(
        _on(
            context,
            registry,
            namespace,
            token_file,
            lambda all_, here: all_.delete(_key(here, plain), version or None),
        )
    )
    typer.echo(f"deleted: {plain} {version or 'with all its versions'}")


@app.command()
def render(
    context: typer.Context,
    name: Versioned,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=TEXT…", help="Values of its variables.")
    ] = None,
    label: Label = "production",
    agent: Agent = "",
    namespace: Namespace = "",
    registry: Registry = "",
    token_file: TokenFile = None,
) -> None:
    """The text that an agent would get: of one version, or of the one that a label and its agent version mean."""
    plain, _, version = name.partition("@")
    given = dict(pair(one) for one in values or ())
    found = complete(
        _on(
            context,
            registry,
            namespace,
            token_file,
            lambda all_, here: _chosen(all_, _key(here, plain), version, label, agent),
        )
    )
    typer.echo(found.render(given))


async def _on(
    context: typer.Context,
    registry: str,
    namespace: str,
    token_file: Path | None,
    work: "Callable[[PromptSource, str], Awaitable[T]]",
) -> T:
    """What `work` makes of the registry's prompts and the namespace that is meant."""
    from parley_cli.access import Access

    async with Access.given(token_file).registry(registry_of(context.obj, registry, namespace)) as found:
        return await work(found.prompts, found.namespace)


async def _push(
    context: typer.Context, registry: str, namespace: str, token_file: Path | None, told: dict[str, Any]
) -> Any:
    import time

    from parley_registry.prompts.check import check_prompt

    async def push(all_: "PromptSource", here: str) -> Any:
        where = namespace or told.get("namespace") or here
        version, labels = check_prompt(told | {"namespace": where}, now=time.time())
        return await all_.push(version, labels)

    return await _on(context, registry, namespace, token_file, push)


async def _chosen(
    source: "PromptSource", key: "PromptKey", version: str, label: str, agent: str
) -> "PromptVersion":
    if not version:
        version = (await source.get(key)).chosen(label, _agent(agent) if agent else None)
    return await source.version(key, version)


def _key(namespace: str, name: str) -> "PromptKey":
    from parley_registry.prompts.prompt import PromptKey

    return PromptKey(namespace, name)


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
