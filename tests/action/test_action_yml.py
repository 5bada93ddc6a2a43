"""action.yml and the workflows as files: the documented interface, nothing interpolated into a shell, pins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ACTION = REPOSITORY / "action.yml"
WORKFLOWS = [
    REPOSITORY / ".github" / "workflows" / "self-test.yml",
    *(REPOSITORY / "examples" / "workflows" / name for name in ("cpu.yml", "gpu.yml")),
]
INPUTS = [
    "checkpoint",
    "checkpoints",
    "policy",
    "waivers",
    "reference",
    "holdout",
    "label",
    "prior",
    "base",
    "budget",
    "profile",
    "device",
    "fail-on",
    "formats",
    "out-dir",
    "compare-with",
    "summary",
    "upload-artifact",
    "retention-days",
    "comment",
    "upload-sarif",
    "token",
    "cache",
    "torch",
    "python-version",
    "version",
]
OUTPUTS = [
    "verdict",
    "exit-code",
    "report-json",
    "report-html",
    "sarif",
    "junit",
    "checkpoint-sha256",
    "results",
    "failed-gates",
]


def read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def steps_of(path: Path) -> list[dict[str, Any]]:
    document = read(path)
    if "runs" in document:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job["steps"]]


def test_inputs_and_outputs_are_the_documented_ones() -> None:
    action = read(ACTION)
    assert list(action["inputs"]) == INPUTS
    assert list(action["outputs"]) == OUTPUTS
    page = (REPOSITORY / "docs" / "action.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", page, flags=re.MULTILINE)
    assert rows == INPUTS + OUTPUTS


def test_defaults_in_the_documentation_are_those_of_the_action() -> None:
    page = (REPOSITORY / "docs" / "action.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `([a-z0-9-]+)` \| `?([^`|]*?)`? \|", page, flags=re.MULTILINE))
    for name, given in read(ACTION)["inputs"].items():
        assert stated[name] == ("required" if given.get("required") else given["default"]), name


def test_only_what_shows_nobody_is_uploaded_and_only_when_asked() -> None:
    action = read(ACTION)
    assert action["inputs"]["upload-artifact"]["default"] == "false"
    (upload,) = (step for step in steps_of(ACTION) if "upload-artifact" in step.get("uses", ""))
    assert "inputs.upload-artifact == 'true'" in upload["if"]
    for line in upload["with"]["path"].split():
        assert not set("*?[") & set(line)
    assert "restricted" not in str(upload["with"])


def test_the_exit_code_is_the_last_step() -> None:
    last = steps_of(ACTION)[-1]
    assert last["if"] == "always()"
    assert last["run"].startswith("exit ")


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_no_expression_inside_a_shell_script(path: Path) -> None:
    for step in steps_of(path):
        assert "${{" not in step.get("run", ""), step


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_actions_are_pinned_by_full_sha(path: Path) -> None:
    used = [step["uses"] for step in steps_of(path) if "uses" in step]
    assert used
    for name in used:
        assert name == "./" or re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", name), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_only_read(path: Path) -> None:
    document = read(path)
    assert document["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in document["jobs"].values())
    triggers = document[True]  # type: ignore[index]  # YAML 1.1 reads "on" as a boolean
    assert "pull_request_target" not in triggers
    for step in steps_of(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_gitlab_keeps_public_reports_only() -> None:
    job = read(REPOSITORY / "examples" / "ci" / "gitlab.yml")["reid-audit"]
    assert job["artifacts"]["when"] == "always"
    assert sorted(Path(path).name for path in job["artifacts"]["paths"]) == [
        "report.html",
        "report.json",
        "report.md",
        "report.sarif",
    ]
