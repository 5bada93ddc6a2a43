"""Which verdicts are possible: counted beforehand, and the same as what the judge says afterwards."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from reid_audit.audit.preflight.reach import reach
from reid_audit.judge import Case, judge
from reid_audit.records import Controls, Gate, Measured, Metric, Outcome, Policy
from reid_audit.score.calibration import share_interval
from reid_audit.score.needs import smallest

DEFAULT = Policy()
MEMBERS, OTHERS = smallest(DEFAULT)
EVERY = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)


def test_with_enough_patients_every_verdict_is_possible_and_nothing_is_said() -> None:
    found = reach(DEFAULT, 388, 395)
    assert (found.possible, found.hindrances, found.verdict_possible) == (EVERY, (), True)


@pytest.mark.parametrize(("members", "others"), [(None, 400), (400, None), (None, None)])
def test_without_a_side_only_inconclusive_is_possible(members: int | None, others: int | None) -> None:
    found = reach(DEFAULT, members, others)
    assert found.possible == (Outcome.INCONCLUSIVE,)
    assert not found.verdict_possible
    (why,) = found.hindrances
    assert ("--reference" in why.remedy) is (members is None)
    assert ("--holdout" in why.remedy) is (others is None)


def test_a_screening_needs_no_films() -> None:
    found = reach(Policy(evidence="checkpoint"), None, None)
    assert found.verdict_possible
    assert found.hindrances == ()


def test_a_gate_on_what_needs_no_films_can_fail_without_any() -> None:
    policy = Policy(gates=(*DEFAULT.gates, Gate(metric=Metric.FID_PRIOR_TUNED, fail=100.0)))
    assert reach(policy, None, None).possible == (Outcome.FAIL, Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("members", [5, 10, 30, 35])
def test_too_few_training_patients_leave_fail_and_a_waiver(members: int) -> None:
    found = reach(DEFAULT, members, 400)
    assert found.possible == (Outcome.FAIL, Outcome.INCONCLUSIVE)
    rates = [why for why in found.hindrances if why.metrics == (Metric.MEMBERSHIP_TPR,)]
    assert len(rates) == 1
    assert "no clean model" in rates[0].text
    assert "waiver" in rates[0].remedy
    assert "more training patients" not in rates[0].remedy


@pytest.mark.parametrize(("members", "others"), [(4, 400), (400, DEFAULT.controls.canaries + 4)])
@pytest.mark.parametrize("asked", [True, False])
def test_too_few_patients_to_ask_whether_the_cohorts_are_of_one_kind_leave_no_verdict(
    members: int, others: int, asked: bool
) -> None:
    found = reach(Policy(controls=Controls(exchangeability=asked)), members, others)
    assert not found.verdict_possible
    assert any(Metric.EXCHANGEABILITY_P in why.metrics for why in found.hindrances)
    assert not any("FAIL" in why.remedy for why in found.hindrances)
    base = Policy(gates=(*DEFAULT.gates, Gate(metric=Metric.CONSENSUS, fail=0.5, basis="excess")))
    assert Outcome.FAIL in reach(base, members, others).possible, "restarts are compared with each other alone"


def test_forty_training_patients_pass_by_luck_alone() -> None:
    """One patient above the threshold, which a clean model may have, and the interval ends above the limit."""
    assert share_interval(0, 40).high <= 0.10 < share_interval(1, 40).high
    found = reach(DEFAULT, 40, 400)
    assert found.possible == EVERY
    assert {why.metrics[0] for why in found.hindrances if why.by_luck} == {Metric.MEMBERSHIP_TPR, Metric.LINKAGE_TPR}
    assert all("% of clean models" in why.text for why in found.hindrances)


def test_the_limit_that_is_offered_can_be_reached() -> None:
    (why,) = (w for w in reach(DEFAULT, 20, 400).hindrances if w.metrics == (Metric.MEMBERSHIP_TPR,))
    offered = float(why.remedy.rpartition("clear limit to ")[2].split()[0])
    gates = tuple(
        gate.model_copy(update={"clear": offered})
        if gate.metric in (Metric.MEMBERSHIP_TPR, Metric.LINKAGE_TPR)
        else gate
        for gate in DEFAULT.gates
    )
    assert Outcome.PASS in reach(Policy(gates=gates), 20, 400).possible


def test_a_waived_gate_is_no_hindrance_and_the_judge_agrees() -> None:
    gates = frozenset({Metric.MEMBERSHIP_TPR, Metric.LINKAGE_TPR})
    assert reach(DEFAULT, 20, 400, waived=gates).possible == EVERY


def test_too_few_hold_out_patients_can_be_added() -> None:
    found = reach(DEFAULT, 200, OTHERS - 7)
    assert Outcome.PASS not in found.possible
    assert "7 more patients" in found.hindrances[0].remedy
    assert Outcome.PASS in reach(DEFAULT, 200, OTHERS).possible


def test_controls_that_are_not_asked_for_need_nobody() -> None:
    off = Controls(attack_power=False, membership_control=False, scorer_sensitivity=False, exchangeability=False)
    lenient = Policy(controls=off, gates=(Gate(metric=Metric.SINGLE_HIT, fail=0.0),))
    found = reach(lenient, 200, 20)
    assert {metric for why in found.hindrances for metric in why.metrics} == {Metric.MEMBERSHIP_TPR}


def test_what_is_out_of_reach_is_not_passed_by_the_judge() -> None:
    """The best thing that can be measured on 20 patients does not pass the default policy."""
    best = share_interval(0, 20)
    measured = tuple(
        Measured(metric=metric, value=best.value, low=best.low, high=best.high, control=0.0, n=20)
        for metric in (Metric.LINKAGE_TPR, Metric.MEMBERSHIP_TPR)
    )
    case = Case(measured, "a" * 64, "disjoint", budget_complete=True, has_reference=True, has_holdout=True)
    verdict = judge(case, DEFAULT, today=date(2026, 1, 1))
    assert {Metric.LINKAGE_TPR, Metric.MEMBERSHIP_TPR} <= {gap.metric for gap in verdict.gaps}


def test_the_page_has_the_numbers_of_the_default_policy() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "preflight.md").read_text(encoding="utf-8")
    lucky = next(n for n in range(1, MEMBERS) if Outcome.PASS in reach(DEFAULT, n, 400).possible)
    assert f"| {MEMBERS} or more training and {OTHERS} or more hold-out patients |" in page
    assert f"| {lucky} to {MEMBERS - 1} training patients |" in page
    assert f"| fewer than {OTHERS} hold-out patients |" in page
