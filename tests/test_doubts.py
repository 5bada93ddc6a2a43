"""A network that may not be the one that was trained never PASSes, and FAILs all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from clean_evidence import CLEAN, DIGEST

from reid_audit.judge import Case, judge
from reid_audit.records import Measured, Metric, Outcome, Policy, replaced

SURE = Case(CLEAN, DIGEST, "disjoint", True, True, True)
DOUBTED = replace(SURE, network_doubts=("first", "second"))
LEAK = Measured(metric=Metric.MEMBERSHIP_TPR, value=0.3, low=0.2, high=0.5)


def test_every_doubt_is_a_gap_with_a_remedy_and_withholds_the_pass() -> None:
    assert judge(SURE, Policy(), today=date(2026, 3, 1)).outcome is Outcome.PASS
    verdict = judge(DOUBTED, Policy(), today=date(2026, 3, 1))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [gap.text for gap in verdict.gaps] == ["the network is in doubt: first", "the network is in doubt: second"]
    assert all("--arch" in gap.remedy for gap in verdict.gaps)
    assert "first" in verdict.reason


def test_a_doubt_hides_no_breach() -> None:
    leaking = replace(DOUBTED, measurements=replaced(CLEAN, (LEAK,)))
    assert judge(leaking, Policy(), today=date(2026, 3, 1)).outcome is Outcome.FAIL
