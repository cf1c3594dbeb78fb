"""What `parley rollout status` shows."""

import json

import pytest

from parley_cli.rolloutview import put_status, show_status
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


def test_why_there_are_no_figures_stands_in_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    why = "no host of greeter says how its versions do (http://greeter.team.svc.cluster.local: no such name)"
    show_status(TABLE, {}, Analysis(), why)
    head, row, said, hint = capsys.readouterr().out.splitlines()
    assert head.split() == ["version", "state", "weight"], "no columns that nothing can be in"
    assert row.split() == ["1.0.0", "Current", "100", "%"]
    assert said == f"tasks and figures: not known from here: {why}"
    assert "kubectl get agentversions -l parley.dev/agent=greeter" in hint


def test_a_host_that_is_down_is_no_reason_to_speak_of_clusters(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(TABLE, {}, Analysis(), "no host of greeter says how its versions do: none is in the registry")
    out = capsys.readouterr().out
    assert "none is in the registry" in out
    assert "kubectl" not in out


def test_as_json_the_reason_is_a_member(capsys: pytest.CaptureFixture[str]) -> None:
    put_status(TABLE, {}, Analysis(), "nobody answers")
    put_status(TABLE, {"1.0.0": VersionFigures("1.0.0")}, Analysis())
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["figures"], first["figuresUnknown"], first["verdict"]) == ([], "nobody answers", None)
    assert second["figuresUnknown"] is None
