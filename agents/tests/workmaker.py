"""Work for an engine, as an executor would make it."""

from pathlib import Path
from typing import Any

from parley_agents.artifacts import Commit, PlanStep, StepRequest
from parley_agents.bundles import Exchange
from parley_agents.role import Work
from parley_agents.settings import AgentSettings


def step(name: str = "step", skill: str = "edit-code", **inputs: Any) -> PlanStep:
    return PlanStep(id=name, title=name, skill=skill, instructions="", inputs=inputs)


def work_on(
    base: str,
    *bundles: bytes,
    goal: str = "",
    step: PlanStep | None = None,
    home: Path | None = None,
    **more: Any,
) -> Work:
    """`change` is a commit id; everything else goes into the request as it is."""
    if "change" in more:
        more["change"] = Commit(commit=more["change"])
    told: list[str] = []

    async def say(text: str) -> None:
        told.append(text)

    request = StepRequest(
        goal=goal,
        step=step or PlanStep(id="request", title=goal or "step", skill="plan-change", instructions=goal),
        base=Commit(commit=base),
        **more,
    )
    settings = AgentSettings(home=home or Path("/nonexistent"), test_timeout=60)
    return Work(request, bundles, settings, Exchange(), say)
