"""A PASS is impossible without its evidence."""

from __future__ import annotations

import pytest
from clean_evidence import CLEAN, changed, judged, measured

from reid_audit.records import (
    Control,
    Controls,
    Gate,
    Measured,
    Measurement,
    Metric,
    Outcome,
    Overlap,
    Policy,
    Reason,
    Unmeasured,
)


def test_a_clean_model_with_every_control_passes() -> None:
    verdict = judged()
    assert verdict.outcome is Outcome.PASS
    assert verdict.exit_code == 0
    assert not verdict.gaps
    assert not verdict.warnings
    assert not verdict.screening


REQUIRED = (
    Metric.LINKAGE_P,
    Metric.LINKAGE_TPR,
    Metric.SINGLE_HIT,
    Metric.MEMBERSHIP_TPR,
    Metric.ATTACK_POWER,
    Metric.SCORER_SENSITIVITY,
    Metric.MEMBERSHIP_CONTROL,
    Metric.PREPROCESS_FIT,
    Metric.NEGATIVE_CONTROL_P,
    Metric.EXCHANGEABILITY_P,
)


@pytest.mark.parametrize("metric", REQUIRED)
@pytest.mark.parametrize("how", ["absent", "unmeasured"])
def test_removing_any_required_evidence_withholds_the_pass(metric: Metric, how: str) -> None:
    rest: tuple[Measurement, ...] = tuple(m for m in CLEAN if m.metric is not metric)
    if how == "unmeasured":
        rest = (*rest, Unmeasured(metric=metric, reason=Reason.NOT_COMPUTED))
    verdict = judged(rest)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.exit_code == 4
    blind = {d.metric for d in verdict.demoted if d.reason is Reason.EXCHANGEABILITY_UNKNOWN}
    assert bool(blind) is (metric is Metric.EXCHANGEABILITY_P)
    assert [gap.metric for gap in verdict.gaps if gap.metric not in blind] == [metric]
    assert all(gap.remedy for gap in verdict.gaps)


@pytest.mark.parametrize(
    "missed",
    [
        measured(Metric.ATTACK_POWER, 0.02),
        measured(Metric.SCORER_SENSITIVITY, 0.6, 0.49, 0.7),
        measured(Metric.MEMBERSHIP_CONTROL, 0.25),
        measured(Metric.PREPROCESS_FIT, 1.5),
        measured(Metric.NEGATIVE_CONTROL_P, 0.01),
        measured(Metric.EXCHANGEABILITY_P, 0.004),
    ],
    ids=lambda m: m.metric.value,
)
def test_a_missed_control_withholds_the_pass(missed: Measured) -> None:
    verdict = judged(changed(missed))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert missed.metric in {gap.metric for gap in verdict.gaps}


SWITCHES = [name for name, field in Controls.model_fields.items() if field.annotation is bool]


@pytest.mark.parametrize("name", SWITCHES)
def test_every_control_of_the_policy_is_asked_for(name: str) -> None:
    """Over the fields of ``Controls``, so that a control added later cannot be forgotten by the judge."""
    asked = Policy(controls=Controls(**{other: other == name for other in SWITCHES}))
    if name == "prior_disjoint":
        verdict = judged(policy=asked, prior_overlap="unknown")
    else:
        metric = Metric(
            {"exchangeability": "exchangeability_p", "negative_control": "negative_control_p"}.get(name, name)
        )
        verdict = judged(tuple(m for m in CLEAN if m.metric is not metric), asked)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [row.control.value for row in verdict.controls if row.lacking] == [name]
    assert judged(policy=asked).outcome is Outcome.PASS


@pytest.mark.parametrize("overlap", ["overlap", "unknown"])
def test_an_undeclared_prior_withholds_the_pass(overlap: Overlap) -> None:
    assert judged(prior_overlap=overlap).outcome is Outcome.INCONCLUSIVE


def test_no_films_or_no_budget_withhold_the_pass() -> None:
    assert judged(has_holdout=False).outcome is Outcome.INCONCLUSIVE
    assert judged(has_reference=False).outcome is Outcome.INCONCLUSIVE
    verdict = judged(budget_complete=False)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "--budget" in verdict.gaps[0].remedy


@pytest.mark.parametrize("metric", [Metric.LINKAGE_P, Metric.LINKAGE_TPR, Metric.MEMBERSHIP_TPR])
def test_indicators_never_support_a_pass(metric: Metric) -> None:
    shown = next(m for m in CLEAN if m.metric is metric).model_copy(update={"indicator": True})
    assert judged(changed(shown)).outcome is Outcome.INCONCLUSIVE


def test_an_extrapolated_hit_withholds_the_pass_without_failing() -> None:
    verdict = judged(changed(measured(Metric.SINGLE_HIT, 2, indicator=True)))
    assert verdict.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    "between",
    [
        measured(Metric.LINKAGE_P, 0.03),
        measured(Metric.LINKAGE_P, 0.001),
        measured(Metric.LINKAGE_TPR, 0.05, 0.0, 0.2),
        measured(Metric.MEMBERSHIP_TPR, 0.06, 0.04, 0.09).model_copy(update={"high": 0.11}),
    ],
    ids=["p", "uncorroborated", "tpr", "membership"],
)
def test_between_fail_and_clear_lies_inconclusive(between: Measured) -> None:
    assert judged(changed(between)).outcome is Outcome.INCONCLUSIVE


def test_a_wide_rate_says_how_many_patients_are_missing() -> None:
    verdict = judged(changed(measured(Metric.MEMBERSHIP_TPR, 0.0, 0.0, 0.3, n=10)))
    assert verdict.gaps[0].metric is Metric.MEMBERSHIP_TPR
    assert "every patient the network was trained on: it takes 54 to bound a rate by 10 %" in verdict.gaps[0].remedy
    assert "if these 10 are all, only a waiver" in verdict.gaps[0].remedy


def test_a_policy_without_clear_limits_still_needs_both_sides_measured() -> None:
    policy = Policy(
        gates=(Gate(metric=Metric.NEAREST_SSIM, fail=0.05, basis="excess"),),
        controls=Controls(
            attack_power=False,
            scorer_sensitivity=False,
            membership_control=False,
            preprocess_fit=False,
            negative_control=False,
            exchangeability=False,
            prior_disjoint=False,
        ),
    )
    assert judged((), policy).outcome is Outcome.INCONCLUSIVE
    assert {gap.metric for gap in judged((), policy).gaps} == {Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR}
    assert judged(policy=policy).outcome is Outcome.PASS


def test_an_excess_gate_that_could_not_be_evaluated_this_time_withholds_the_pass() -> None:
    """A gate without a ``clear`` limit does not fail open where its control is missing."""
    policy = Policy(gates=(Gate(metric=Metric.NEAREST_NN, fail=0.05, basis="excess"),))
    assert judged(policy=policy).outcome is Outcome.PASS
    verdict = judged(changed(measured(Metric.NEAREST_NN, 0.9)), policy)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [(row.status, row.lacking) for row in verdict.gates] == [("unmeasured", True)]
    assert "no control in this run" in verdict.gaps[0].text


def test_each_row_says_what_was_compared_with_what() -> None:
    verdict = judged(changed(measured(Metric.MEMBERSHIP_TPR, 0.3, 0.2, 0.5)))
    rows = {row.metric: row for row in verdict.gates}
    assert tuple(rows) == tuple(gate.metric for gate in Policy().gates)
    breach, open_, clear = rows[Metric.MEMBERSHIP_TPR], rows[Metric.LINKAGE_TPR], rows[Metric.LINKAGE_P]
    assert (breach.status, breach.compared, breach.bound, breach.limit) == ("breach", 0.2, "low", "fail")
    assert breach.margin == pytest.approx(-0.15)
    assert (open_.status, open_.compared, open_.bound, open_.limit) == ("clear", 0.03, "high", "clear")
    assert (clear.status, clear.compared, clear.bound, clear.limit) == ("clear", 0.4, "value", "clear")
    assert clear.margin == pytest.approx(0.35)
    assert {row.status for row in verdict.controls} == {"met"}
    assert [row.control for row in verdict.controls] == list(Control)
