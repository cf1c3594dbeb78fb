"""The generated definitions and their page are as the models say, and are what Kubernetes takes as structural."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from parley_operator.crd import KINDS, definition, schema
from parley_operator.crds import ROOT, files


@pytest.mark.parametrize("name", sorted(files()))
def test_a_generated_file_is_as_it_would_be_written_now(name: str) -> None:
    kept = (ROOT / name).read_text()
    assert kept == files()[name], f"run `python -m parley_operator.crds` and commit {name}"


def fields(told: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield path, told
    for name, one in told.get("properties", {}).items():
        yield from fields(one, f"{path}.{name}")
    for below in ("items", "additionalProperties"):
        if below in told:
            yield from fields(told[below], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_has_a_type_and_a_description(kind: Any) -> None:
    for path, told in fields(schema(kind), kind.kind):
        assert "type" in told or told.get("x-kubernetes-int-or-string"), path
        assert not {"$ref", "title", "oneOf", "allOf"} & told.keys(), path
        if not path.endswith(("[]", ".apiVersion", ".kind", ".metadata")):
            assert told.get("description"), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_what_a_rule_looks_at_is_bounded(kind: Any) -> None:
    for path, told in fields(schema(kind), kind.kind):
        if path.startswith(f"{kind.kind}.spec"):
            if told.get("type") == "array":
                assert "maxItems" in told, path
            if "additionalProperties" in told:
                assert "maxProperties" in told, path
            if told.get("type") == "string" and "enum" not in told and "pattern" not in told:
                assert "maxLength" in told, path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_definition_has_its_status_apart(kind: Any) -> None:
    version = definition(kind)["spec"]["versions"][0]
    assert version["subresources"]["status"] == {}
    assert version["additionalPrinterColumns"]
