"""What a PASS rests on: membership with references in the place of a reconstruction, and when it must not be."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from clean_evidence import CLEAN, DIGEST, TODAY

from reid_audit.judge import Case, judge
from reid_audit.judge.basis import OVERFITTED, WEAK
from reid_audit.records import Measured, Measurement, Metric, Outcome, Policy, Reason, References, Unmeasured, Verdict

BARE = Case(CLEAN, DIGEST, "disjoint", True, True, True, references=4, stores_statistics=False)
"""A network without BatchNorm whose membership was scored against four references."""
UNTRIED = Unmeasured(metric=Metric.ATTACK_POWER, reason=Reason.NO_DATA_STATISTICS)


def gap(low: float) -> Measured:
    return Measured(metric=Metric.GENERALISATION_GAP, value=low + 0.05, low=low, high=low + 0.1, n=388)


def judged(case: Case, *changes: Measurement, policy: Policy | None = None, today: date = TODAY) -> Verdict:
    kept = (m for m in case.measurements if m.metric not in {change.metric for change in changes})
    return judge(replace(case, measurements=(*kept, *changes)), policy or Policy(), today=today)


def test_a_network_without_batchnorm_passes_on_membership_with_references() -> None:
    verdict = judged(BARE, UNTRIED, gap(0.02))
    assert verdict.outcome is Outcome.PASS
    assert "rests on membership" in verdict.reason
    assert "4 reference models" in verdict.reason


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        (replace(BARE, references=0), (gap(0.02),)),
        (replace(BARE, stores_statistics=True), (gap(0.02),)),
        (BARE, ()),
        (BARE, (gap(OVERFITTED + 0.01),)),
        (BARE, (gap(0.02).model_copy(update={"high": None}),)),
        (BARE, (gap(0.02).model_copy(update={"low": -0.3, "high": 0.4}),)),
        (BARE, (gap(0.02), Measured(metric=Metric.MEMBERSHIP_CONTROL, value=0.2))),
        (BARE, (gap(0.02), Unmeasured(metric=Metric.MEMBERSHIP_CONTROL, reason=Reason.BUDGET))),
    ],
    ids=[
        "no references",
        "with BatchNorm",
        "gap not known",
        "overfitted",
        "gap without interval",
        "gap of few patients",
        "planted patients missed",
        "planted patients not asked",
    ],
)
def test_without_one_of_its_conditions_nothing_stands_in(case: Case, changes: tuple[Measurement, ...]) -> None:
    verdict = judged(case, UNTRIED, *changes)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert Metric.ATTACK_POWER in {missing.metric for missing in verdict.gaps}


def test_the_policy_can_forbid_it() -> None:
    policy = Policy(references=References(stands_in=False))
    assert judged(BARE, UNTRIED, gap(0.02), policy=policy).outcome is Outcome.INCONCLUSIVE


def test_a_pass_says_how_strong_its_membership_is() -> None:
    with_statistics = replace(BARE, stores_statistics=True)
    assert judged(replace(with_statistics, references=0)).reason.endswith(WEAK)
    assert judged(with_statistics).reason.endswith("Membership was scored beside 4 reference models.")


UNLABELLED = Unmeasured(metric=Metric.GENERALISATION_GAP, reason=Reason.NO_LABELS)
ONE_OUTPUT = Case(CLEAN, DIGEST, "disjoint", True, True, True, head="sigmoid", outputs=1)


@pytest.mark.parametrize("reason", [Reason.NO_LABELS, Reason.NOT_COMPUTED], ids=["no labels", "earlier version"])
def test_a_network_of_numbers_needs_the_numbers_that_it_learned(reason: Reason) -> None:
    numbers = replace(ONE_OUTPUT, head="regression")
    verdict = judged(numbers, Unmeasured(metric=Metric.GENERALISATION_GAP, reason=reason))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("--label" in missing.remedy for missing in verdict.gaps)
    assert judged(numbers, gap(0.02)).outcome is Outcome.PASS


def test_one_output_that_nobody_explained_may_be_a_number() -> None:
    verdict = judged(ONE_OUTPUT, UNLABELLED)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("--head" in missing.remedy for missing in verdict.gaps)
    assert judged(ONE_OUTPUT, UNLABELLED, policy=Policy(head="sigmoid")).outcome is Outcome.PASS
    assert judged(ONE_OUTPUT, gap(0.02)).outcome is Outcome.PASS
    assert judged(replace(ONE_OUTPUT, outputs=2, head="softmax"), UNLABELLED).outcome is Outcome.PASS


@pytest.mark.parametrize("case", [BARE, replace(BARE, stores_statistics=True), ONE_OUTPUT])
@pytest.mark.parametrize("reason", [Reason.LABELS_UNANSWERED, Reason.FILMS_UNKNOWN])
def test_labels_or_films_that_the_network_never_learned_withhold_a_pass(case: Case, reason: Reason) -> None:
    """Planted patients are taught them too, so the membership control is met."""
    unanswered = Unmeasured(metric=Metric.GENERALISATION_GAP, reason=reason)
    verdict = judged(case, unanswered, policy=Policy(head="sigmoid"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    (missing,) = (each for each in verdict.gaps if "label" in each.remedy)
    assert missing.metric is Metric.GENERALISATION_GAP
    assert "[preprocess]" in missing.remedy  # under a wrong one both look alike


@pytest.mark.parametrize("case", [BARE, replace(BARE, stores_statistics=True), ONE_OUTPUT])
def test_a_hold_out_that_the_network_knows_better_withholds_a_pass(case: Case) -> None:
    known = Unmeasured(metric=Metric.GENERALISATION_GAP, reason=Reason.HOLDOUT_KNOWN)
    verdict = judged(case, known, policy=Policy(head="sigmoid"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("exchanged" in missing.remedy for missing in verdict.gaps)


def test_references_that_the_policy_requires_are_missed() -> None:
    policy = Policy(references=References(when="required"))
    verdict = judged(replace(BARE, stores_statistics=True, references=0), policy=policy)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("without reference models" in missing.text for missing in verdict.gaps)


@pytest.mark.parametrize(
    ("ends", "outcome"), [((0.69, 0.64, 0.72), Outcome.INCONCLUSIVE), ((0.76, 0.71, 0.80), Outcome.FAIL)]
)
def test_a_network_that_tells_its_patients_as_a_group_does_not_pass(
    ends: tuple[float, float, float], outcome: Outcome
) -> None:
    """The figures of one that knows 617 films by heart, of whom 2 % are recognised at 1 % false alarms."""
    value, low, high = ends
    group = Measured(metric=Metric.MEMBERSHIP_AUC, value=value, low=low, high=high, control=0.5, n=388)
    verdict = judged(replace(BARE, stores_statistics=True), group)
    assert verdict.outcome is outcome
    assert Metric.MEMBERSHIP_AUC in {*(b.metric for b in verdict.breaches), *(g.metric for g in verdict.gaps)}
