"""Signed URLs of blobs: each reads one blob for a time. A blob belongs to nobody; who has its URL may read it."""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from parley_core.blobs import checked, is_digest
from parley_core.errors import ConfigurationError

PATH = "/parley/v1/blobs"

_LONGEST = 10 * 365 * 24 * 3600.0


class UrlSigner:
    """Makes and checks signed URLs of blobs (HMAC-SHA256 over digest and expiry)."""

    def __init__(
        self, key: bytes | Path, base_url: str = "", *, clock: Callable[[], float] = time.time
    ) -> None:
        """`key` or the file it is in (see `load_key`; read, or made, when first needed). `base_url` is where the blob
        routes are reachable. Raises ConfigurationError for a key under 16 bytes."""
        if isinstance(key, bytes) and len(key) < 16:
            raise ConfigurationError("the key that signs blob URLs needs at least 16 bytes")
        self._key = key
        self._base = base_url.rstrip("/")
        self._clock = clock

    def sign(self, digest: str, *, lifetime: float = 3600.0) -> str:
        """A URL that reads this blob for `lifetime` seconds (at most ten years)."""
        expires = int(self._clock() + min(lifetime, _LONGEST))
        return (
            f"{self._base}{PATH}/{checked(digest)}?expires={expires}&signature={self._mac(digest, expires)}"
        )

    def verify(self, digest: str, expires: str, signature: str) -> bool:
        """Whether the three came from `sign` with this key and the time is not over."""
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            return False
        expected = self._mac(digest, int(expires))
        return hmac.compare_digest(expected.encode(), signature.encode()) and int(expires) >= self._clock()

    def digest_of_own(self, url: str) -> str:
        """The digest in a URL that this key signed and that has not expired, else "". Who serves it plays no part:
        the holder of the key reads the store."""
        digest = digest_in(url)
        if not digest:
            return ""
        query = parse_qs(urlsplit(url).query)
        expires, signature = (query.get(name, [""])[0] for name in ("expires", "signature"))
        return digest if self.verify(digest, expires, signature) else ""

    def _mac(self, digest: str, expires: int) -> str:
        if isinstance(self._key, Path):
            self._key = load_key(self._key)
        return hmac.new(self._key, f"parley-blob\n{digest}\n{expires}".encode(), hashlib.sha256).hexdigest()


def digest_in(url: str) -> str:
    """The digest a blob URL names, or "" when it is not a blob URL of Parley's."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    head, _, last = path.rpartition("/")
    return last if head.endswith(PATH) and is_digest(last) else ""


def key_file(blobs: str, given: Path | None) -> Path:
    """The file of the key that signs for the store at `blobs`: the given one, or `blob.key` beside a local folder.
    Raises ConfigurationError when nothing says so."""
    if given is not None:
        return given
    place = blobs.removeprefix("file://")
    if "://" in place:
        raise ConfigurationError("set PARLEY_BLOB_KEY_FILE: blobs outside of this machine need a key file")
    return Path(place).parent / "blob.key"


def load_key(path: Path) -> bytes:
    """The signing key kept in `path` (32 bytes as hex), made on first use, readable by its owner alone.

    Several processes may start on one path at once: all get the same key.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) < 16:
        raise ConfigurationError(f"{path} does not hold a key: remove it and start again")
    return key
