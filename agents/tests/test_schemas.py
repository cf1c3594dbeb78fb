"""The published schemas are those of the models."""

import pytest

from parley_agents.schemas import FOLDER, MODELS, text


@pytest.mark.parametrize("name", MODELS)
def test_a_published_schema_is_what_its_model_says(name: str) -> None:
    written = (FOLDER / f"{name}.json").read_text("utf-8")
    assert written == text(MODELS[name]), "run `python -m parley_agents.schemas`"


def test_nothing_else_is_published() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(MODELS)
