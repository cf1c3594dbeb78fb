"""Write the published JSON schemas again: `python -m parley_agents.schemas`."""

from parley_agents.schemas import FOLDER, MODELS, text

for name, model in MODELS.items():
    (FOLDER / f"{name}.json").write_text(text(model), "utf-8")
