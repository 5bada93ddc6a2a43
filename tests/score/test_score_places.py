"""Where a score lives: one file for each family, one scorer for each metric of the table, one space to compare in."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from reid_audit.records import CONTROLS, Family, Metric, family
from reid_audit.score.alone import ALONE
from reid_audit.score.demographics import DEMOGRAPHICS
from reid_audit.score.distribution import DISTRIBUTION
from reid_audit.score.encoder import ENCODER
from reid_audit.score.likelihood import LIKELY
from reid_audit.score.linkage import LINKAGE
from reid_audit.score.membership.inference import MEMBERSHIP
from reid_audit.score.membership.subgroups import SUBGROUPS

PACKAGE = Path(__file__).resolve().parents[2] / "reid_audit"
SHARED = ("__init__", "families", "inference", "observed", "against_references")
"""What all families of membership scores share."""
FAMILIES = sorted(path for path in (PACKAGE / "score" / "membership").glob("*.py") if path.stem not in SHARED)


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_family_of_scores_begins_with_its_equation_and_its_source(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert re.search(r"^    .*[=~]", text, re.M)
    assert re.search(r"\b(19|20)\d\d\b", text)


def test_a_scorer_measures_a_family_of_the_table() -> None:
    assert {*LINKAGE, *ENCODER} == family(Family.LINKAGE)
    assert set(LIKELY) == family(Family.LIKELY)
    assert {*MEMBERSHIP, *SUBGROUPS, Metric.GENERALISATION_GAP} == family(Family.MEMBERSHIP)
    assert set(DISTRIBUTION) == family(Family.DISTRIBUTION)
    assert set(DEMOGRAPHICS) == family(Family.DEMOGRAPHICS)
    controls = {control.metric for control in CONTROLS.values()} - {None}
    assert controls == family(Family.CONTROL)
    assert {test.metric for test in ALONE} <= controls


def calls(folder: str, name: str) -> list[str]:
    """Files of a folder that call a function."""
    return [
        str(path.relative_to(PACKAGE))
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def test_an_audit_fits_its_space_of_comparison_once_and_one_for_an_encoder() -> None:
    assert calls("audit", "fit_match_space") == ["audit/encoder.py", "audit/run.py"]


def test_only_the_question_whether_a_prior_leaks_looks_into_the_prior() -> None:
    borrowing = {
        path.stem
        for path in (PACKAGE / "score").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reid_audit.prior")
    }
    assert borrowing == {"prior_leak"}


def test_attacks_plant_nothing() -> None:
    assert not [
        path for path in (PACKAGE / "attack").glob("*.py") if "canar" in path.read_text(encoding="utf-8").lower()
    ]
