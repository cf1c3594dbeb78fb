"""A signed URL reads one blob for a time, and only who has the key makes one."""

import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from parley_core.bloblinks import UrlSigner, digest_in, key_file, load_key
from parley_core.errors import ConfigurationError

KEY = b"k" * 32
DIGEST = "ab" * 32


def test_a_url_holds_for_its_blob_its_key_and_its_time_alone() -> None:
    now = [1000.0]
    signer = UrlSigner(KEY, "http://blobs/", clock=lambda: now[0])
    url = signer.sign(DIGEST, lifetime=60)
    assert url.startswith(f"http://blobs/parley/v1/blobs/{DIGEST}?")
    assert signer.digest_of_own(url) == digest_in(url) == DIGEST
    assert signer.digest_of_own(url.replace("http://blobs/", "https://elsewhere/")) == DIGEST
    for changed in (
        url.replace(DIGEST, "cd" * 32),
        url.replace("signature=", "signature=0"),
        url.replace("expires=", "expires=9"),
        url.split("?")[0],
        "http://[broken",
        "",
    ):
        assert signer.digest_of_own(changed) == ""
    assert UrlSigner(b"o" * 32, clock=lambda: now[0]).digest_of_own(url) == ""
    now[0] += 61
    assert signer.digest_of_own(url) == ""
    expires, signature = (parse_qs(urlsplit(url).query)[name][0] for name in ("expires", "signature"))
    assert not signer.verify(DIGEST, "²", signature)
    assert not signer.verify(DIGEST, expires, "²")


def test_a_url_that_is_to_hold_for_ever_holds_for_ten_years() -> None:
    signer = UrlSigner(KEY)
    assert signer.digest_of_own(signer.sign(DIGEST, lifetime=float("inf"))) == DIGEST


def test_the_key_is_beside_a_local_folder_and_must_be_named_for_other_places(tmp_path: Path) -> None:
    assert key_file(str(tmp_path / "blobs"), None) == tmp_path / "blob.key"
    assert key_file(f"file://{tmp_path}/blobs", None) == tmp_path / "blob.key"
    assert key_file("s3://bucket/blobs", tmp_path / "key") == tmp_path / "key"
    with pytest.raises(ConfigurationError, match="PARLEY_BLOB_KEY_FILE"):
        key_file("s3://bucket/blobs", None)
    with pytest.raises(ConfigurationError, match="16 bytes"):
        UrlSigner(b"short")


def test_a_key_is_made_once_even_by_many_at_once_and_is_private(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(load_key(tmp_path / "d/key"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert (tmp_path / "d/key").stat().st_mode & 0o077 == 0
    (tmp_path / "bad").write_text("no")
    with pytest.raises(ConfigurationError, match="does not hold a key"):
        load_key(tmp_path / "bad")
