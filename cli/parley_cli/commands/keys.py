"""`parley keys`: the keys that sign the cards of agents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parley_cli.options import Json, Misuse

if TYPE_CHECKING:
    from parley_core.signingkeys import Algorithm, SigningKeys

app = typer.Typer(no_args_is_help=True, help="Make and change the keys that sign cards.")

Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        envvar="PARLEY_SIGNING_KEYS",
        metavar="FILE",
        help="File of the keys. Default: that of the platform in this home.",
    ),
]
Kind = Annotated[
    str,
    typer.Option("--algorithm", envvar="PARLEY_KEY_ALGORITHM", help="ES256 or EdDSA."),
]


@app.command()
def create(
    context: typer.Context, keys: Keys = None, algorithm: Kind = "ES256", as_json: Json = False
) -> None:
    """Make a file with a new key, readable by you alone. Give it to hosts as --signing-keys."""
    from parley_core import signingkeys

    path = _place(context, keys)
    _show(path, signingkeys.create(path, _algorithm(algorithm)), as_json)


@app.command()
def rotate(
    context: typer.Context,
    keys: Keys = None,
    algorithm: Annotated[
        str,
        typer.Option(
            "--algorithm",
            envvar="PARLEY_KEY_ALGORITHM",
            help="ES256 or EdDSA. Default: that of the key before.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Let a new key sign from now on. The one before stays published until it is retired.

    Hosts notice within two seconds and publish their cards again.
    """
    from parley_core import signingkeys

    path = _place(context, keys)
    _show(path, signingkeys.rotate(path, _algorithm(algorithm) if algorithm else None), as_json)


@app.command()
def retire(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="The key's id, as `parley keys list` shows it.")],
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Publish a key no longer: cards signed by it are not trusted from then on."""
    from parley_core import signingkeys

    path = _place(context, keys)
    _show(path, signingkeys.retire(path, key_id), as_json)


@app.command("list")
def list_(context: typer.Context, keys: Keys = None, as_json: Json = False) -> None:
    """The keys of a file, the one that signs first."""
    from parley_core import signingkeys

    path = _place(context, keys)
    _show(path, signingkeys.read(path), as_json)


@app.command()
def public(context: typer.Context, keys: Keys = None) -> None:
    """The public keys as a JSON Web Key Set: what to give to those who shall trust your cards."""
    import json

    from parley_core import signingkeys

    typer.echo(json.dumps(signingkeys.read(_place(context, keys)).public(), indent=2))


def _place(context: typer.Context, keys: Path | None) -> Path:
    place: Path = keys or context.obj.signing_keys
    return place


def _algorithm(given: str) -> "Algorithm":
    if given == "ES256":
        return "ES256"
    if given == "EdDSA":
        return "EdDSA"
    raise Misuse(f"{given!r} is no algorithm for new keys; choose ES256 or EdDSA")


def _show(path: Path, keys: "SigningKeys", as_json: bool) -> None:
    from datetime import UTC, datetime

    from parley_cli.lines import put_json

    for key in keys.shown():
        if as_json:
            shown = {"id": key.id, "algorithm": key.algorithm, "created": key.created, "signs": key.signs}
            put_json(shown)
            continue
        made = datetime.fromtimestamp(key.created, UTC).strftime("%Y-%m-%d") if key.created else "?"
        typer.echo(f"{key.id}  {key.algorithm}  {made}  {'signs' if key.signs else 'published'}")
    if not as_json:
        typer.echo(f"in {path}", err=True)
