"""The verdict: a PASS is impossible without its evidence, indicators never decide, waivers are bound and dated."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from reid_audit.judge import Case, judge
from reid_audit.judge.remedies import REMEDIES
from reid_audit.records import (
    REASON_TEXT,
    Control,
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
    Verdict,
    Waiver,
)

DIGEST = "a" * 64
TODAY = date(2026, 3, 1)


def _m(metric: Metric, value: float, low: float | None = None, high: float | None = None, **more: object) -> Measured:
    return Measured.model_validate({"metric": metric, "value": value, "low": low, "high": high, **more})


CLEAN: tuple[Measured, ...] = (
    _m(Metric.LINKAGE_P, 0.4, n=388),
    _m(Metric.LINKAGE_AUC, 0.51, 0.47, 0.55, control=0.5),
    _m(Metric.REIDENTIFIED_PATIENTS, 0, control=0),
    _m(Metric.SINGLE_HIT, 0, control=0, indicator=True),
    _m(Metric.LINKAGE_TPR, 0.01, 0.0, 0.03, n=388),
    _m(Metric.MEMBERSHIP_AUC, 0.54, 0.49, 0.58, control=0.5, n=388),
    _m(Metric.MEMBERSHIP_TPR, 0.01, 0.0, 0.04, n=388),
    _m(Metric.LIKELY_SAMPLES, 14, 8, 20, control=15),
    _m(Metric.NEAREST_SSIM, 0.45, 0.42, 0.48, control=0.45),
    _m(Metric.NEAREST_NN, 0.44, 0.41, 0.47, control=0.45),
    _m(Metric.ATTACK_POWER, 0.001),
    _m(Metric.SCORER_SENSITIVITY, 0.8, 0.7, 0.9),
    _m(Metric.MEMBERSHIP_CONTROL, 1.0),
    _m(Metric.PREPROCESS_FIT, 0.1),
    _m(Metric.NEGATIVE_CONTROL_P, 0.5),
    _m(Metric.EXCHANGEABILITY_P, 0.6),
)

_NO_KINDS = Unmeasured(metric=Metric.EXCHANGEABILITY_P, reason=Reason.BUDGET)


def _with(*changes: Measurement) -> tuple[Measurement, ...]:
    new = {c.metric for c in changes}
    return (*(m for m in CLEAN if m.metric not in new), *changes)


def _judge(
    measurements: tuple[Measurement, ...] = CLEAN,
    policy: Policy | None = None,
    *,
    waivers: tuple[Waiver, ...] = (),
    prior_overlap: Overlap = "disjoint",
    budget_complete: bool = True,
    has_reference: bool = True,
    has_holdout: bool = True,
) -> Verdict:
    case = Case(measurements, DIGEST, prior_overlap, budget_complete, has_reference, has_holdout)
    return judge(case, policy or Policy(), waivers=waivers, today=TODAY)


def test_a_clean_model_with_every_control_passes() -> None:
    verdict = _judge()
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
    verdict = _judge(rest)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.exit_code == 4
    blind = {d.metric for d in verdict.demoted if d.reason is Reason.EXCHANGEABILITY_UNKNOWN}
    assert bool(blind) is (metric is Metric.EXCHANGEABILITY_P)
    assert [gap.metric for gap in verdict.gaps if gap.metric not in blind] == [metric]
    assert all(gap.remedy for gap in verdict.gaps)


@pytest.mark.parametrize(
    "missed",
    [
        _m(Metric.ATTACK_POWER, 0.02),
        _m(Metric.SCORER_SENSITIVITY, 0.6, 0.49, 0.7),
        _m(Metric.MEMBERSHIP_CONTROL, 0.25),
        _m(Metric.PREPROCESS_FIT, 1.5),
        _m(Metric.NEGATIVE_CONTROL_P, 0.01),
        _m(Metric.EXCHANGEABILITY_P, 0.004),
    ],
    ids=lambda m: m.metric.value,
)
def test_a_missed_control_withholds_the_pass(missed: Measured) -> None:
    verdict = _judge(_with(missed))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert missed.metric in {gap.metric for gap in verdict.gaps}


SWITCHES = [name for name, field in Controls.model_fields.items() if field.annotation is bool]


@pytest.mark.parametrize("name", SWITCHES)
def test_every_control_of_the_policy_is_asked_for(name: str) -> None:
    """Over the fields of ``Controls``, so that a control added later cannot be forgotten by the judge."""
    asked = Policy(controls=Controls(**{other: other == name for other in SWITCHES}))
    if name == "prior_disjoint":
        verdict = _judge(policy=asked, prior_overlap="unknown")
    else:
        metric = Metric(
            {"exchangeability": "exchangeability_p", "negative_control": "negative_control_p"}.get(name, name)
        )
        verdict = _judge(tuple(m for m in CLEAN if m.metric is not metric), asked)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [row.control.value for row in verdict.controls if row.lacking] == [name]
    assert _judge(policy=asked).outcome is Outcome.PASS


@pytest.mark.parametrize("overlap", ["overlap", "unknown"])
def test_an_undeclared_prior_withholds_the_pass(overlap: Overlap) -> None:
    assert _judge(prior_overlap=overlap).outcome is Outcome.INCONCLUSIVE


def test_no_films_or_no_budget_withhold_the_pass() -> None:
    assert _judge(has_holdout=False).outcome is Outcome.INCONCLUSIVE
    assert _judge(has_reference=False).outcome is Outcome.INCONCLUSIVE
    verdict = _judge(budget_complete=False)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "--budget" in verdict.gaps[0].remedy


BREACHES: tuple[tuple[str, tuple[Measured, ...]], ...] = (
    ("linkage_p", (_m(Metric.LINKAGE_P, 0.01), _m(Metric.REIDENTIFIED_PATIENTS, 1))),
    ("linkage_p", (_m(Metric.LINKAGE_P, 0.001), _m(Metric.LINKAGE_TPR, 0.3, 0.02, 0.5))),
    ("single_hit", (_m(Metric.SINGLE_HIT, 1),)),
    ("membership_tpr_at_1pct_fpr", (_m(Metric.MEMBERSHIP_TPR, 0.3, 0.051, 0.5),)),
    ("likely_samples", (_m(Metric.LIKELY_SAMPLES, 20, 10, 25, control=2), _m(Metric.REIDENTIFIED_PATIENTS, 3))),
    ("nearest_ssim", (_m(Metric.NEAREST_SSIM, 0.6, 0.55, 0.65, control=0.45),)),
    ("nearest_nn", (_m(Metric.NEAREST_NN, 0.6, 0.55, 0.65, control=0.45),)),
    ("sex_accuracy_reconstruction", (_m(Metric.SEX_ACCURACY_RECONSTRUCTION, 0.9, 0.85, 1.0, control=0.6),)),
)


@pytest.mark.parametrize(("name", "changes"), BREACHES, ids=[f"{n}{i}" for i, (n, _) in enumerate(BREACHES)])
def test_each_gate_can_fail_a_model_even_when_controls_are_missing(name: str, changes: tuple[Measured, ...]) -> None:
    verdict = _judge(_with(*changes))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.exit_code == 1
    assert [b.metric.value for b in verdict.breaches] == [name]
    assert name in verdict.reason
    bare = tuple(m for m in _with(*changes) if m.metric is not Metric.ATTACK_POWER)
    assert _judge(bare, budget_complete=False).outcome is Outcome.FAIL


def test_a_control_spared_by_a_breach_is_missed_only_where_nothing_else_fails() -> None:
    spared = Unmeasured(metric=Metric.ATTACK_POWER, reason=Reason.NOT_NEEDED)
    failed = _judge(_with(spared, _m(Metric.MEMBERSHIP_TPR, 0.3, 0.051, 0.5)))
    assert (failed.outcome, failed.gaps) == (Outcome.FAIL, ())
    rejudged = _judge(_with(spared))
    assert rejudged.outcome is Outcome.INCONCLUSIVE
    assert [gap.metric for gap in rejudged.gaps] == [Metric.ATTACK_POWER]


@pytest.mark.parametrize(("name", "changes"), BREACHES, ids=[f"{n}{i}" for i, (n, _) in enumerate(BREACHES)])
def test_indicators_never_fail_a_model(name: str, changes: tuple[Measured, ...]) -> None:
    shown = tuple(m.model_copy(update={"indicator": True}) for m in changes)
    assert _judge(_with(*shown)).outcome is not Outcome.FAIL


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("reason", [Reason.BUDGET, Reason.TOO_FEW_REFERENCE, None])
@pytest.mark.parametrize(("name", "changes"), BREACHES, ids=[f"{n}{i}" for i, (n, _) in enumerate(BREACHES)])
def test_cohorts_of_unknown_kind_neither_fail_nor_pass(
    name: str, changes: tuple[Measured, ...], reason: Reason | None, asked: bool
) -> None:
    """A difference between them may be one of kind; whether the policy asks for the control changes nothing."""
    policy = Policy(controls=Controls(exchangeability=asked))
    kinds = () if reason is None else (Unmeasured(metric=Metric.EXCHANGEABILITY_P, reason=reason),)
    known = _with(*changes)
    unknown = (*(m for m in known if m.metric is not Metric.EXCHANGEABILITY_P), *kinds)
    assert _judge(known, policy).outcome is Outcome.FAIL
    verdict = _judge(unknown, policy)
    assert (verdict.outcome, verdict.breaches) == (Outcome.INCONCLUSIVE, ())
    assert {d.reason for d in verdict.demoted} == {Reason.EXCHANGEABILITY_UNKNOWN}
    beyond = next(row for row in verdict.gates if row.metric.value == name)
    assert (beyond.status, beyond.beyond, beyond.lacking) == ("indicator", True, True), "the number is still shown"
    assert beyond.remedy == REMEDIES[Reason.EXCHANGEABILITY_UNKNOWN], "other seeds would not help"
    clean = tuple(m for m in CLEAN if m.metric is not Metric.EXCHANGEABILITY_P)
    assert _judge((*clean, *kinds), policy).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("change", "overlap", "reason", "others"),
    [
        (_NO_KINDS, "disjoint", Reason.EXCHANGEABILITY_UNKNOWN, True),
        (_NO_KINDS, "overlap", Reason.EXCHANGEABILITY_UNKNOWN, True),
        (_m(Metric.EXCHANGEABILITY_P, 0.001), "disjoint", Reason.NOT_EXCHANGEABLE, True),
        (_m(Metric.EXCHANGEABILITY_P, 0.001), "overlap", Reason.NOT_EXCHANGEABLE, True),
        (_m(Metric.NEGATIVE_CONTROL_P, 0.001), "disjoint", Reason.CONTROL_FLAGGED, False),
        (_m(Metric.NEGATIVE_CONTROL_P, 0.5), "overlap", Reason.PRIOR_OVERLAP, False),
    ],
)
def test_the_verdict_names_what_it_did_not_count(
    change: Measurement, overlap: Overlap, reason: Reason, others: bool
) -> None:
    verdict = _judge(_with(change), prior_overlap=overlap)
    found = {d.metric: d.reason for d in verdict.demoted}
    assert found[Metric.LINKAGE_P] is reason
    assert (Metric.MEMBERSHIP_TPR in found) is others
    assert change.metric not in found
    assert _judge().demoted == ()
    gap = next(g for g in verdict.gaps if g.metric is Metric.LINKAGE_P)
    assert REASON_TEXT[reason] in gap.text
    assert gap.remedy == REMEDIES[reason]


@pytest.mark.parametrize("metric", [m for m in Metric if m.value.startswith("age_mae_")])
def test_a_smaller_age_error_is_the_riskier_one(metric: Metric) -> None:
    gates = Policy(gates=(Gate(metric=metric, fail=-3.0, clear=-2.0, basis="excess"),))
    close = _m(metric, 5.0, 4.0, 6.0, control=12.0, n=60)
    assert _judge(_with(close), gates).outcome is Outcome.FAIL
    assert _judge(_with(_m(metric, 13.0, 12.0, 14.0, control=12.0, n=60)), gates).outcome is Outcome.PASS


@pytest.mark.parametrize("metric", [Metric.LINKAGE_P, Metric.LINKAGE_TPR, Metric.MEMBERSHIP_TPR])
def test_indicators_never_support_a_pass(metric: Metric) -> None:
    shown = next(m for m in CLEAN if m.metric is metric).model_copy(update={"indicator": True})
    assert _judge(_with(shown)).outcome is Outcome.INCONCLUSIVE


def test_an_extrapolated_hit_withholds_the_pass_without_failing() -> None:
    verdict = _judge(_with(_m(Metric.SINGLE_HIT, 2, indicator=True)))
    assert verdict.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    "between",
    [
        _m(Metric.LINKAGE_P, 0.03),
        _m(Metric.LINKAGE_P, 0.001),
        _m(Metric.LINKAGE_TPR, 0.05, 0.0, 0.2),
        _m(Metric.MEMBERSHIP_TPR, 0.06, 0.04, 0.09).model_copy(update={"high": 0.11}),
    ],
    ids=["p", "uncorroborated", "tpr", "membership"],
)
def test_between_fail_and_clear_lies_inconclusive(between: Measured) -> None:
    assert _judge(_with(between)).outcome is Outcome.INCONCLUSIVE


def test_a_wide_rate_says_how_many_patients_are_missing() -> None:
    verdict = _judge(_with(_m(Metric.MEMBERSHIP_TPR, 0.0, 0.0, 0.3, n=10)))
    assert verdict.gaps[0].metric is Metric.MEMBERSHIP_TPR
    assert "every patient the network was trained on: it takes 54 to bound a rate by 10 %" in verdict.gaps[0].remedy
    assert "if these 10 are all, only a waiver" in verdict.gaps[0].remedy


def test_unsound_comparisons_cannot_fail_a_model() -> None:
    leak = _with(_m(Metric.LINKAGE_P, 0.0001), _m(Metric.REIDENTIFIED_PATIENTS, 5))
    assert _judge(leak).outcome is Outcome.FAIL
    assert _judge(leak, prior_overlap="overlap").outcome is Outcome.INCONCLUSIVE
    blank = _m(Metric.NEGATIVE_CONTROL_P, 0.001)
    assert _judge((*(m for m in leak if m.metric is not blank.metric), blank)).outcome is Outcome.INCONCLUSIVE
    exposed = (_m(Metric.MEMBERSHIP_TPR, 0.9, 0.8, 1.0), blank)
    assert _judge(_with(*exposed)).outcome is Outcome.FAIL
    kinds = _m(Metric.EXCHANGEABILITY_P, 0.001)
    assert _judge(_with(exposed[0], kinds)).outcome is Outcome.INCONCLUSIVE


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
    assert _judge((), policy).outcome is Outcome.INCONCLUSIVE
    assert {gap.metric for gap in _judge((), policy).gaps} == {Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR}
    assert _judge(policy=policy).outcome is Outcome.PASS


def test_an_excess_without_its_control_neither_fails_nor_clears() -> None:
    policy = Policy(gates=(*Policy().gates[:6], Gate(metric=Metric.NEAREST_NN, fail=0.05, clear=0.2, basis="excess")))
    bare = _with(_m(Metric.NEAREST_NN, 0.9))
    assert _judge(bare, policy).outcome is Outcome.INCONCLUSIVE


def test_a_gate_may_be_corroborated_by_a_p_value() -> None:
    gate = Gate(
        metric=Metric.NEAREST_NN, fail=0.5, corroborated_by=(Corroboration(metric=Metric.LINKAGE_P, above=0.05),)
    )
    policy = Policy(gates=(gate,))
    high = _m(Metric.NEAREST_NN, 0.9, control=0.1)
    assert _judge(_with(high), policy).outcome is Outcome.INCONCLUSIVE
    assert _judge(_with(high, _m(Metric.LINKAGE_P, 0.01)), policy).outcome is Outcome.FAIL


EXPOSED = _with(_m(Metric.MEMBERSHIP_TPR, 0.3, 0.2, 0.5))


def _waiver(gate: Metric = Metric.MEMBERSHIP_TPR, digest: str = DIGEST, expires: date = date(2026, 4, 1)) -> Waiver:
    return Waiver(
        gate=gate,
        checkpoint_sha256=digest,
        reason="research use inside the hospital",
        approved_by="DPO",
        expires=expires,
    )


def test_a_waived_breach_passes_and_stays_visible() -> None:
    verdict = _judge(EXPOSED, waivers=(_waiver(),))
    assert verdict.outcome is Outcome.PASS
    assert [b.metric for b in verdict.waived] == [Metric.MEMBERSHIP_TPR]
    assert "DPO" in verdict.waived[0].text
    assert "1 waived" in verdict.reason


def test_a_waiver_holds_through_its_last_day_and_then_fails() -> None:
    assert _judge(EXPOSED, waivers=(_waiver(expires=TODAY),)).outcome is Outcome.PASS
    verdict = _judge(EXPOSED, waivers=(_waiver(expires=date(2026, 2, 28)),))
    assert verdict.outcome is Outcome.FAIL
    assert "expired" in verdict.breaches[0].text


def test_a_waiver_for_another_checkpoint_is_no_waiver() -> None:
    verdict = _judge(EXPOSED, waivers=(_waiver(digest="b" * 64),))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.warnings == ("waiver for membership_tpr_at_1pct_fpr belongs to another checkpoint",)


def test_an_unused_waiver_warns() -> None:
    verdict = _judge(waivers=(_waiver(),))
    assert verdict.outcome is Outcome.PASS
    assert "not needed" in verdict.warnings[0]


def test_a_waiver_does_not_replace_missing_evidence() -> None:
    rest = tuple(m for m in CLEAN if m.metric is not Metric.MEMBERSHIP_TPR)
    assert _judge(rest, waivers=(_waiver(),)).outcome is Outcome.INCONCLUSIVE


SCREEN = (
    _m(Metric.LIKELY_SAMPLES, 12, control=0.5, indicator=True),
    _m(Metric.CONSENSUS, 0.3, control=0.29, indicator=True),
)


def test_checkpoint_only_is_inconclusive_unless_the_policy_accepts_a_screening() -> None:
    films: dict[str, Any] = {"has_reference": False, "has_holdout": False}
    assert _judge(SCREEN, **films).outcome is Outcome.INCONCLUSIVE
    policy = Policy(evidence="checkpoint", gates=(Gate(metric=Metric.CONSENSUS, fail=0.2, basis="excess"),))
    verdict = _judge(SCREEN, policy, **films)
    assert verdict.outcome is Outcome.PASS
    assert verdict.screening
    assert "Screening" in verdict.reason
    loud = (SCREEN[0], _m(Metric.CONSENSUS, 0.9, control=0.29, indicator=True))
    assert _judge(loud, policy, **films).outcome is Outcome.INCONCLUSIVE
    assert _judge((), policy, **films).outcome is Outcome.INCONCLUSIVE
    assert _judge(SCREEN, policy, budget_complete=False, **films).outcome is Outcome.INCONCLUSIVE


def test_a_screening_in_which_restarts_agree_is_no_pass() -> None:
    films: dict[str, Any] = {"has_reference": False, "has_holdout": False}
    for low, outcome in ((0.2, Outcome.PASS), (0.4, Outcome.INCONCLUSIVE)):
        consensus = _m(Metric.CONSENSUS, 0.5, control=0.29, indicator=True).model_copy(update={"low": low, "high": 0.6})
        quiet = _m(Metric.LIKELY_SAMPLES, 0, control=0.5, indicator=True)
        verdict = _judge((quiet, consensus), Policy(evidence="checkpoint"), **films)
        assert verdict.outcome is outcome
        assert any("restarts agree" in gap.text for gap in verdict.gaps) == (outcome is Outcome.INCONCLUSIVE)


def test_a_screening_policy_with_films_is_judged_in_full() -> None:
    policy = Policy(evidence="checkpoint")
    verdict = _judge(SCREEN, policy)
    assert not verdict.screening
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_an_excess_gate_that_could_not_be_evaluated_this_time_withholds_the_pass() -> None:
    """A gate without a ``clear`` limit does not fail open where its control is missing."""
    policy = Policy(gates=(Gate(metric=Metric.NEAREST_NN, fail=0.05, basis="excess"),))
    assert _judge(policy=policy).outcome is Outcome.PASS
    verdict = _judge(_with(_m(Metric.NEAREST_NN, 0.9)), policy)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [(row.status, row.lacking) for row in verdict.gates] == [("unmeasured", True)]
    assert "no control in this run" in verdict.gaps[0].text


def test_a_waiver_answers_for_a_number_and_not_for_a_core_number_that_does_not_count() -> None:
    waiver = _waiver(Metric.LINKAGE_P)
    between = _m(Metric.LINKAGE_P, 0.03)
    assert _judge(_with(between), waivers=(waiver,)).outcome is Outcome.PASS
    verdict = _judge(_with(between), waivers=(waiver,), prior_overlap="overlap")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert next(row for row in verdict.gates if row.metric is Metric.LINKAGE_P).lacking


def test_each_row_says_what_was_compared_with_what() -> None:
    verdict = _judge(_with(_m(Metric.MEMBERSHIP_TPR, 0.3, 0.2, 0.5)))
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


def test_a_gate_without_limits_is_off() -> None:
    policy = Policy(gates=(Gate(metric=Metric.NEAREST_NN), Gate(metric=Metric.NEAREST_SSIM, fail=0.05, basis="excess")))
    assert [row.status for row in _judge(policy=policy).gates] == ["off", "clear"]
