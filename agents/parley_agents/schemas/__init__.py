"""The published JSON schemas of what the team's agents hand to each other, made from the models."""

import json
from pathlib import Path

from pydantic import BaseModel

from parley_agents.artifacts import Change, Plan, StepRequest, TestReport, Verdict

FOLDER = Path(__file__).parent

MODELS: dict[str, type[BaseModel]] = {
    "change": Change,
    "plan": Plan,
    "request": StepRequest,
    "tests": TestReport,
    "verdict": Verdict,
}


def text(model: type[BaseModel]) -> str:
    """The schema of a model as its file holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
