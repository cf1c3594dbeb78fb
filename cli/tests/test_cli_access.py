"""Who calls is proved with a token: from a file or the environment, shown where it belongs, printed nowhere."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cli_processes import EXAMPLES, hosted, parley, registry
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from parley_cli.access import Access
from parley_core.bearer import Bearer
from parley_core.errors import ConfigurationError

pytestmark = pytest.mark.processes

ISSUER, AUDIENCE = "https://issuer.example", "parley"


@pytest.fixture
def token(tmp_path: Path) -> str:
    """A token that verifies with jwks.json in the same folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": "k1", "alg": "ES256", "use": "sig"}
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [public]}))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": time.time() + 600}
    return jwt.encode(claims, key, "ES256", headers={"kid": "k1"})


@pytest.fixture
def hello(tmp_path: Path, token: str) -> Iterator[str]:
    """An agent that lets in who has the token."""
    told = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(tmp_path / "jwks.json")}
    options = [word for name, value in told.items() for word in (f"--auth-{name}", value)]
    with hosted("hello:Hello", EXAMPLES / "hello", tmp_path, *options) as url:
        yield url


def test_an_agent_that_wants_a_token_gets_it_from_a_file_or_the_environment(
    tmp_path: Path, token: str, hello: str
) -> None:
    refused = parley(tmp_path, "send", hello, "Ada")
    assert refused.returncode == 1
    assert "does not let us in (401)" in refused.stderr
    assert "--token-file FILE or in PARLEY_TOKEN" in refused.stderr
    (tmp_path / "token").write_text(token + "\n")
    for words, settings in (
        (("--token-file", str(tmp_path / "token")), {}),
        ((), {"PARLEY_TOKEN_FILE": str(tmp_path / "token")}),
        ((), {"PARLEY_TOKEN": token}),
    ):
        done = parley(tmp_path, "send", hello, "Ada", *words, **settings)
        assert (done.returncode, done.stdout) == (0, "Hello, Ada!\n"), done.stderr
    listed = parley(tmp_path, "task", "list", "--agent", hello, PARLEY_TOKEN=token)
    assert listed.returncode == 0, listed.stderr


def test_a_token_that_is_refused_is_not_printed(tmp_path: Path, hello: str) -> None:
    for debug in ("", "1"):
        done = parley(tmp_path, "send", hello, "Ada", PARLEY_TOKEN="s3cret-s3cret", PARLEY_DEBUG=debug)
        assert done.returncode == 1
        assert "s3cret" not in done.stdout + done.stderr


def test_the_registry_is_shown_the_token_too(tmp_path: Path, token: str) -> None:
    told = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS": str(tmp_path / "jwks.json")}
    with registry(tmp_path, **{f"PARLEY_AUTH_{name}": value for name, value in told.items()}) as url:
        refused = parley(tmp_path, "agents", "list", "--registry", url)
        assert refused.returncode == 1
        assert "--token-file" in refused.stderr
        assert parley(tmp_path, "agents", "list", "--registry", url, PARLEY_TOKEN=token).returncode == 0
        other = {"PARLEY_TOKEN": "for-agents", "PARLEY_REGISTRY_TOKEN": token}
        assert parley(tmp_path, "agents", "list", "--registry", url, **other).returncode == 0


def test_a_token_in_a_file_is_read_again_when_it_is_renewed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    token = Bearer(file=file)
    file.write_text("two\n")
    assert token.text == "two"


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe"])
def test_a_file_without_a_token_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigurationError, match="does not hold a bearer token"):
        Access.given(tmp_path / "token")
    with pytest.raises(ConfigurationError, match="cannot read the token in"):
        Access.given(tmp_path / "none")


def test_what_shows_a_token_says_nothing_of_it_when_it_is_printed() -> None:
    shown = Access(Bearer("s3cret"), "s3cret")
    assert "s3cret" not in f"{shown!r} {shown.token!r}"
