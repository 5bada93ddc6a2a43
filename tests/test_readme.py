"""The pages people rely on say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from reid_audit.arch.index import shipped
from reid_audit.cli import COMMANDS, main
from reid_audit.records import EXIT_CODES, METRICS, Controls, Metric, Policy, PreprocessSpec

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_help_block_is_the_help() -> None:
    shown = CliRunner().invoke(main, ["--help"], prog_name="reid-audit", terminal_width=80).output.strip()
    assert shown in README


def test_exit_code_table() -> None:
    rows = dict(re.findall(r"^\| (\d) \| (\w+) \|", README, re.M))
    assert rows == {"2": "usage", **{str(code): outcome.value for outcome, code in EXIT_CODES.items()}}
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    said = {code: word.replace(" ", "_") for code, word in re.findall(r"^\| (\d) \| ([\w ]+):", page, re.M)}
    assert said == rows


def test_every_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_metric_is_explained() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert [metric.value for metric in Metric if f"`{metric.value}`" not in page] == []


def test_every_policy_key_is_explained() -> None:
    page = (ROOT / "docs" / "policy.md").read_text()
    keys: list[str] = []
    policy = Policy()
    for record in (policy, policy.controls, policy.budget, policy.gates[0], PreprocessSpec()):
        keys += list(type(record).model_fields)
    assert [key for key in keys if f"`{key}`" not in page and key not in ("metric",)] == []


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_what_the_capability_table_is_shown_by_is_there() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", README, re.M)[1:]
    assert len(rows) == 12
    for network, shown in rows:
        paths = [*re.findall(r"\]\(([^)]+)\)", shown), *re.findall(r"`(tests/[\w/.]+)`", shown)]
        assert paths, network
        assert [path for path in paths if not (ROOT / path).exists()] == []


def test_numbers_of_architectures_and_patients_are_those_of_the_program() -> None:
    count = f"{len(shipped().entries):,}"
    for page in (README, (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")):
        assert re.findall(r"[\d,]+(?= (?:architectures|networks) of torchvision)", page) == [count]
    needed = re.search(r"needs at least (\d+) patients \((\d+) become\s+canaries, rates at 1 % need (\d+)\)", README)
    assert needed is not None
    least, canaries, rates = map(int, needed.groups())
    assert least == canaries + rates
    assert (canaries, rates) == (Controls().canaries, METRICS[Metric.MEMBERSHIP_TPR].fewest[1])
