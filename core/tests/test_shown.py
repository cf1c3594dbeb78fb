"""What is shown of an address gives nothing away."""

import pytest

from parley_core.shown import shown_address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite:///file.db", "sqlite:///file.db"),
        ("sqlite:////var/lib/parley/file.db", "sqlite:////var/lib/parley/file.db"),
        ("postgresql://ann:secret@db:5432/parley?schema=x&password=s", "postgresql://db:5432/parley"),
        ("postgresql://ann:secret@a:1,b:2/parley", "postgresql://a:1,b:2/parley"),
        ("http://127.0.0.1:8420?namespace=team", "http://127.0.0.1:8420"),
        ("nacos://ann:secret@host:8848/team", "nacos://host:8848/team"),
        ("http://[broken", "…"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert shown_address(address) == shown
