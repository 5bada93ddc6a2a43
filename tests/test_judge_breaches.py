"""What fails a model: each gate can, and a number that does not count never does."""

from __future__ import annotations

import pytest
from clean_evidence import CLEAN, changed, judged, measured

from reid_audit.judge.remedies import REMEDIES
from reid_audit.records import (
    REASON_TEXT,
    Controls,
    Corroboration,
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

NO_KINDS = Unmeasured(metric=Metric.EXCHANGEABILITY_P, reason=Reason.BUDGET)
BREACHES: tuple[tuple[str, tuple[Measured, ...]], ...] = (
    ("linkage_p", (measured(Metric.LINKAGE_P, 0.01), measured(Metric.REIDENTIFIED_PATIENTS, 1))),
    ("linkage_p", (measured(Metric.LINKAGE_P, 0.001), measured(Metric.LINKAGE_TPR, 0.3, 0.02, 0.5))),
    ("single_hit", (measured(Metric.SINGLE_HIT, 1),)),
    ("membership_tpr_at_1pct_fpr", (measured(Metric.MEMBERSHIP_TPR, 0.3, 0.051, 0.5),)),
    (
        "likely_samples",
        (measured(Metric.LIKELY_SAMPLES, 20, 10, 25, control=2), measured(Metric.REIDENTIFIED_PATIENTS, 3)),
    ),
    ("nearest_ssim", (measured(Metric.NEAREST_SSIM, 0.6, 0.55, 0.65, control=0.45),)),
    ("nearest_nn", (measured(Metric.NEAREST_NN, 0.6, 0.55, 0.65, control=0.45),)),
    ("sex_accuracy_reconstruction", (measured(Metric.SEX_ACCURACY_RECONSTRUCTION, 0.9, 0.85, 1.0, control=0.6),)),
)


@pytest.mark.parametrize(("name", "changes"), BREACHES, ids=[f"{n}{i}" for i, (n, _) in enumerate(BREACHES)])
def test_each_gate_can_fail_a_model_even_when_controls_are_missing(name: str, changes: tuple[Measured, ...]) -> None:
    verdict = judged(changed(*changes))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.exit_code == 1
    assert [b.metric.value for b in verdict.breaches] == [name]
    assert name in verdict.reason
    bare = tuple(m for m in changed(*changes) if m.metric is not Metric.ATTACK_POWER)
    assert judged(bare, budget_complete=False).outcome is Outcome.FAIL


def test_a_control_spared_by_a_breach_is_missed_only_where_nothing_else_fails() -> None:
    spared = Unmeasured(metric=Metric.ATTACK_POWER, reason=Reason.NOT_NEEDED)
    failed = judged(changed(spared, measured(Metric.MEMBERSHIP_TPR, 0.3, 0.051, 0.5)))
    assert (failed.outcome, failed.gaps) == (Outcome.FAIL, ())
    rejudged = judged(changed(spared))
    assert rejudged.outcome is Outcome.INCONCLUSIVE
    assert [gap.metric for gap in rejudged.gaps] == [Metric.ATTACK_POWER]


@pytest.mark.parametrize(("name", "changes"), BREACHES, ids=[f"{n}{i}" for i, (n, _) in enumerate(BREACHES)])
def test_indicators_never_fail_a_model(name: str, changes: tuple[Measured, ...]) -> None:
    shown = tuple(m.model_copy(update={"indicator": True}) for m in changes)
    assert judged(changed(*shown)).outcome is not Outcome.FAIL


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("reason", [Reason.BUDGET, Reason.TOO_FEW_REFERENCE, None])
@pytest.mark.parametrize(("name", "changes"), BREACHES, ids=[f"{n}{i}" for i, (n, _) in enumerate(BREACHES)])
def test_cohorts_of_unknown_kind_neither_fail_nor_pass(
    name: str, changes: tuple[Measured, ...], reason: Reason | None, asked: bool
) -> None:
    """A difference between them may be one of kind; whether the policy asks for the control changes nothing."""
    policy = Policy(controls=Controls(exchangeability=asked))
    kinds = () if reason is None else (Unmeasured(metric=Metric.EXCHANGEABILITY_P, reason=reason),)
    known = changed(*changes)
    unknown = (*(m for m in known if m.metric is not Metric.EXCHANGEABILITY_P), *kinds)
    assert judged(known, policy).outcome is Outcome.FAIL
    verdict = judged(unknown, policy)
    assert (verdict.outcome, verdict.breaches) == (Outcome.INCONCLUSIVE, ())
    assert {d.reason for d in verdict.demoted} == {Reason.EXCHANGEABILITY_UNKNOWN}
    beyond = next(row for row in verdict.gates if row.metric.value == name)
    assert (beyond.status, beyond.beyond, beyond.lacking) == ("indicator", True, True), "the number is still shown"
    assert beyond.remedy == REMEDIES[Reason.EXCHANGEABILITY_UNKNOWN], "other seeds would not help"
    clean = tuple(m for m in CLEAN if m.metric is not Metric.EXCHANGEABILITY_P)
    assert judged((*clean, *kinds), policy).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("change", "overlap", "reason", "others"),
    [
        (NO_KINDS, "disjoint", Reason.EXCHANGEABILITY_UNKNOWN, True),
        (NO_KINDS, "overlap", Reason.EXCHANGEABILITY_UNKNOWN, True),
        (measured(Metric.EXCHANGEABILITY_P, 0.001), "disjoint", Reason.NOT_EXCHANGEABLE, True),
        (measured(Metric.EXCHANGEABILITY_P, 0.001), "overlap", Reason.NOT_EXCHANGEABLE, True),
        (measured(Metric.NEGATIVE_CONTROL_P, 0.001), "disjoint", Reason.CONTROL_FLAGGED, False),
        (measured(Metric.NEGATIVE_CONTROL_P, 0.5), "overlap", Reason.PRIOR_OVERLAP, False),
    ],
)
def test_the_verdict_names_what_it_did_not_count(
    change: Measurement, overlap: Overlap, reason: Reason, others: bool
) -> None:
    verdict = judged(changed(change), prior_overlap=overlap)
    found = {d.metric: d.reason for d in verdict.demoted}
    assert found[Metric.LINKAGE_P] is reason
    assert (Metric.MEMBERSHIP_TPR in found) is others
    assert change.metric not in found
    assert judged().demoted == ()
    gap = next(g for g in verdict.gaps if g.metric is Metric.LINKAGE_P)
    assert REASON_TEXT[reason] in gap.text
    assert gap.remedy == REMEDIES[reason]


@pytest.mark.parametrize("metric", [m for m in Metric if m.value.startswith("age_mae_")])
def test_a_smaller_age_error_is_the_riskier_one(metric: Metric) -> None:
    gates = Policy(gates=(Gate(metric=metric, fail=-3.0, clear=-2.0, basis="excess"),))
    close = measured(metric, 5.0, 4.0, 6.0, control=12.0, n=60)
    assert judged(changed(close), gates).outcome is Outcome.FAIL
    assert judged(changed(measured(metric, 13.0, 12.0, 14.0, control=12.0, n=60)), gates).outcome is Outcome.PASS


def test_unsound_comparisons_cannot_fail_a_model() -> None:
    leak = changed(measured(Metric.LINKAGE_P, 0.0001), measured(Metric.REIDENTIFIED_PATIENTS, 5))
    assert judged(leak).outcome is Outcome.FAIL
    assert judged(leak, prior_overlap="overlap").outcome is Outcome.INCONCLUSIVE
    blank = measured(Metric.NEGATIVE_CONTROL_P, 0.001)
    assert judged((*(m for m in leak if m.metric is not blank.metric), blank)).outcome is Outcome.INCONCLUSIVE
    exposed = (measured(Metric.MEMBERSHIP_TPR, 0.9, 0.8, 1.0), blank)
    assert judged(changed(*exposed)).outcome is Outcome.FAIL
    kinds = measured(Metric.EXCHANGEABILITY_P, 0.001)
    assert judged(changed(exposed[0], kinds)).outcome is Outcome.INCONCLUSIVE


def test_an_excess_without_its_control_neither_fails_nor_clears() -> None:
    policy = Policy(gates=(*Policy().gates[:6], Gate(metric=Metric.NEAREST_NN, fail=0.05, clear=0.2, basis="excess")))
    bare = changed(measured(Metric.NEAREST_NN, 0.9))
    assert judged(bare, policy).outcome is Outcome.INCONCLUSIVE


def test_a_gate_may_be_corroborated_by_a_p_value() -> None:
    gate = Gate(
        metric=Metric.NEAREST_NN, fail=0.5, corroborated_by=(Corroboration(metric=Metric.LINKAGE_P, above=0.05),)
    )
    policy = Policy(gates=(gate,))
    high = measured(Metric.NEAREST_NN, 0.9, control=0.1)
    assert judged(changed(high), policy).outcome is Outcome.INCONCLUSIVE
    assert judged(changed(high, measured(Metric.LINKAGE_P, 0.01)), policy).outcome is Outcome.FAIL


def test_a_gate_without_limits_is_off() -> None:
    policy = Policy(gates=(Gate(metric=Metric.NEAREST_NN), Gate(metric=Metric.NEAREST_SSIM, fail=0.05, basis="excess")))
    assert [row.status for row in judged(policy=policy).gates] == ["off", "clear"]
