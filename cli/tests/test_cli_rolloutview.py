"""What `parley rollout status` shows."""

import pytest

from parley_cli.rolloutview import show_status
from parley_registry.client import Analysis, Rollout, RolloutVersion, VersionFigures

TABLE = Rollout("public", "greeter", (RolloutVersion("1.0.0", "Current", 100.0),))


def test_figures_that_nobody_knows_are_not_shown_as_none(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(TABLE, {}, Analysis())
    assert capsys.readouterr().out.splitlines()[1].split() == ["1.0.0", "Current", "100", "%"]


def test_figures_that_are_known_are_shown_also_when_nothing_has_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_status(TABLE, {"1.0.0": VersionFigures("1.0.0", workers=1)}, Analysis())
    assert capsys.readouterr().out.splitlines()[1].split() == ["1.0.0", "Current", "100", "%", "1", "0", "0"]
