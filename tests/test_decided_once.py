"""Nothing but the judge holds a number against a threshold: everything else shows the rows of its verdict."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THRESHOLDS = {"fail", "clear", "limit", "required"}
"""Fields of a gate, of a control and of their rows that hold what a number has to stay below or reach."""
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
PLACES = ("report", "checking", "cli", "sweep", "audit", "mitigate", "../action")
SHOWING = [
    *sorted(path for place in PLACES for path in (ROOT / "reid_audit" / place).resolve().rglob("*.py")),
    ROOT / "reid_audit" / "console.py",
    ROOT / "reid_audit" / "api.py",
]


def decided(source: str) -> list[str]:
    """Comparisons of ``source`` that say on which side of a threshold a number lies."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Compare)
        and any(isinstance(sign, ORDER) for sign in node.ops)
        and any(
            isinstance(each, ast.Attribute) and each.attr in THRESHOLDS for each in (node.left, *node.comparators)
        )
    ]  # fmt: skip


@pytest.mark.parametrize("path", SHOWING, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_judge_compares_with_a_threshold(path: Path) -> None:
    assert decided(path.read_text(encoding="utf-8")) == []


def test_the_rule_finds_what_it_forbids() -> None:
    assert decided("risky = row.compared > row.fail") == ["row.compared > row.fail"]
    assert decided("risky = gate.clear < measured.high") == ["gate.clear < measured.high"]
    assert decided("shown = row.fail is not None and row.beyond") == []
