"""SARIF 2.1.0 as the reviewer writes it: one run, results with a level, a place and a stable fingerprint."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import quote

from parley_agents.artifacts import Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Result:
    """One finding about the change. Lines and columns count from 1; line 0: about the file as a whole.

    `text` is the line it is about, by which the finding is known again when lines move.
    """

    rule: str
    level: Level
    message: str
    path: str
    line: int = 0
    column: int = 0
    end_line: int = 0
    end_column: int = 0
    text: str = ""
    help: str = ""


def document(
    results: Sequence[Result], verdict: Verdict, *, tools: Sequence[str], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The SARIF log of a review. The verdict is in `runs[0].properties.parley`; `notes` are what could not be
    looked at, as tool execution notifications."""
    rules = {result.rule: result.help for result in results}
    order = sorted(rules)
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "parley-reviewer",
                        "version": version("parley-agents"),
                        "informationUri": "https://parley.dev",
                        "rules": [
                            {"id": rule, **({"helpUri": rules[rule]} if rules[rule] else {})}
                            for rule in order
                        ],
                    },
                    "extensions": [{"name": tool} for tool in tools],
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            {"level": "note", "message": {"text": n}} for n in notes
                        ],
                    }
                ],
                "results": [_result(result, order.index(result.rule)) for result in results],
                "properties": {"parley": verdict.model_dump(mode="json")},
            }
        ],
    }


def _result(result: Result, index: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(result.path), "uriBaseId": "%SRCROOT%"}}
    if result.line:
        region = {"startLine": result.line, "startColumn": max(1, result.column)}
        if result.end_line >= result.line:
            region["endLine"] = result.end_line
            if result.end_column > 0:
                region["endColumn"] = result.end_column
        place["region"] = region
    key = "\0".join((result.rule, result.path, " ".join(result.text.split())))
    return {
        "ruleId": result.rule,
        "ruleIndex": index,
        "level": result.level,
        "message": {"text": result.message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"parley/v1": hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]},
    }
