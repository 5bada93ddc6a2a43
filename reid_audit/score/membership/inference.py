"""Membership inference: given their images, how well the weights tell training patients from hold-out patients.

The figures are those of the field: the area under the ROC curve, and the true-positive rate at 1 % false positives
(Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022), both over patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_audit.records import METRICS, Curve, Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.calibration import (
    Bools,
    Estimate,
    Floats,
    auc_estimate,
    conformal_p,
    familywise_p,
    tpr_at,
    tpr_estimate,
)
from reid_audit.score.membership.reversed import knows_the_others
from reid_audit.score.membership.subgroups import recognised, recognised_patients
from reid_audit.score.patients import Owners, Pool, evidence_by_patient, pool

REFERENCES = "references"
OF_ANSWERS = ("loss", "margin")
"""Families that look at the answers alone: the score against reference models takes their place."""
GRID = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""False positive rates of the published ROC curve."""
FEWEST_MEMBERS, FEWEST_HOLDOUT = METRICS[Metric.MEMBERSHIP_TPR].fewest


@dataclass(frozen=True, slots=True, eq=False)
class MembershipOutcome:
    """Evidence of membership. ``measurements`` and ``curves`` may be published; the arrays are restricted."""

    measurements: tuple[Measurement, ...]
    curves: tuple[Curve, ...] = ()
    family: str = ""
    """The score family that tells training patients best."""
    by_family: tuple[tuple[str, float, float], ...] = ()
    """(family, AUC, TPR at 1 % FPR) of every family."""
    ids: NDArray[np.str_] | None = None
    is_member: Bools | None = None
    scores: Floats | None = None
    """[P] scores of ``family``."""
    levelled: Floats | None = None
    """[P] ``scores`` made comparable across film classes."""
    patient_p: Floats | None = None
    """[P] conformal p of each training patient under ``family``: one minus it is how certainly this patient looks
    like a member. NaN for hold-out patients."""
    recognised: Bools | None = None
    """[P] training patients who stand out one by one, over all families."""
    knows_others: bool = False
    """Whether hold-out patients look more like training patients than these do."""


def membership(
    families: Mapping[str, Floats],
    owners: Owners,
    rng: np.random.Generator,
    *,
    draws: int = 1000,
    level: float = 0.10,
    without: Reason = Reason.NO_DATA_STATISTICS,
) -> MembershipOutcome:
    """AUC, TPR at 1 % FPR and the patient who stands out most, for the most telling of the given score families.

    families: name -> [N] score per pooled film, larger is more member-like. Nothing is fitted on who is a member.
    With F families the lower ends and the family-wise p are corrected for looking at F (a breach needs one family);
    the upper ends are not (a pass needs every family below the limit, an intersection-union test).
    draws: bootstrap draws of the intervals; level: false-discovery rate; without: why there is no family, where that is
    so. Raises CohortError where a patient is in both cohorts.
    """
    if not families:
        return _unmeasured(without)
    names = list(families)
    films = np.stack([np.asarray(families[name], dtype=np.float64) for name in names])
    people = pool(owners, films, rng)
    if people.members < FEWEST_MEMBERS:
        return _unmeasured(Reason.TOO_FEW_REFERENCE)
    if people.others < FEWEST_HOLDOUT:
        return _unmeasured(Reason.TOO_FEW_HOLDOUT)
    persons = np.stack([joined(name, row, owners, people) for name, row in zip(names, films, strict=True)])
    comparable = [row if name == REFERENCES else people.levelled(row) for name, row in zip(names, persons, strict=True)]
    table = np.stack(comparable)
    rates = [_corrected(table[i], people, rng, len(names), draws) for i in range(len(names))]
    ranks = [_corrected_auc(table[i], people, rng, len(names), draws) for i in range(len(names))]
    tpr, auc = worst(rates), worst(ranks)
    most = max(range(len(names)), key=lambda i: (rates[i].low, rates[i].value, ranks[i].value))
    named = recognised(table, people.is_member, level)
    return MembershipOutcome(
        measurements=(
            _measured(Metric.MEMBERSHIP_AUC, auc, 0.5, people),
            _measured(Metric.MEMBERSHIP_TPR, tpr, 0.01, people),
            _stands_out_most(table, people),
            recognised_patients(named, people.is_member),
        ),
        curves=(_roc(table[most], people),),
        family=names[most],
        by_family=tuple((name, ranks[i].value, rates[i].value) for i, name in enumerate(names)),
        ids=people.ids,
        is_member=people.is_member,
        scores=persons[most],
        levelled=table[most],
        patient_p=_each(table[most], people),
        recognised=named,
        knows_others=knows_the_others(table, people.is_member),
    )


def joined(family: str, scores: Floats, owners: Owners, people: Pool) -> Floats:
    """Per-film scores [N] -> per patient [P]: what is said beside references adds up over all films of a patient, of
    other scores the largest of equally many counts."""
    if family == REFERENCES:
        return evidence_by_patient(scores, owners.patients, people.ids)
    return people.by_patient(scores)


MEMBERSHIP = (Metric.MEMBERSHIP_AUC, Metric.MEMBERSHIP_TPR, Metric.MEMBERSHIP_MAX_P, Metric.RECOGNISED_PATIENTS)
"""The metrics ``membership`` produces, in its order."""


def membership_control(families: Mapping[str, Floats], owners: Owners) -> Measurement:
    """TPR at 1 % FPR of the canaries' films against the other hold-out films, best family, as ``membership_control``.

    ``owners``: the canaries as members. It must reach its limit with the same scores that judge the checkpoint.
    """
    patients, is_canary = owners.patients, owners.is_member
    if not families or not is_canary.any():
        return Unmeasured(metric=Metric.MEMBERSHIP_CONTROL, reason=Reason.CONTROL_NOT_RUN)
    canaries = np.unique(patients[is_canary])
    others = np.unique(patients[~is_canary])
    best = 0.0
    for family, scores in families.items():
        each = _of_each(family, scores, patients, np.concatenate([canaries, others]))
        best = max(best, tpr_at(each[: canaries.size], each[canaries.size :]))
    return Measured(metric=Metric.MEMBERSHIP_CONTROL, value=best, control=0.01, n=int(canaries.size))


def _of_each(family: str, scores: Floats, patients: NDArray[np.str_], ids: NDArray[np.str_]) -> Floats:
    """Scores of the patients in ``ids``, joined over all their films as ``joined`` does."""
    if family == REFERENCES:
        return evidence_by_patient(scores, patients, ids)
    return np.array([float(scores[patients == patient].max()) for patient in ids])


def worst(estimates: Sequence[Estimate]) -> Estimate:
    """The largest value, lower end and upper end: the most telling family decides a breach, all decide a pass."""
    return Estimate(max(e.value for e in estimates), max(e.low for e in estimates), max(e.high for e in estimates))


def _corrected(scores: Floats, people: Pool, rng: np.random.Generator, families: int, draws: int) -> Estimate:
    members, others = scores[people.is_member], scores[~people.is_member]
    upper = tpr_estimate(members, others, rng, draws=2 * draws)
    if families == 1:
        return upper
    lower = tpr_estimate(members, others, rng, level=0.05 / families, draws=2 * draws)
    return Estimate(upper.value, lower.low, upper.high)


def _corrected_auc(scores: Floats, people: Pool, rng: np.random.Generator, families: int, draws: int) -> Estimate:
    upper = auc_estimate(scores, people.is_member, people.strata, rng, draws=draws)
    if families == 1:
        return upper
    lower = auc_estimate(scores, people.is_member, people.strata, rng, level=0.05 / families, draws=draws)
    return Estimate(upper.value, lower.low, upper.high)


def _stands_out_most(table: Floats, people: Pool) -> Measurement:
    """Family-wise p of the training patient who stands out most, over all patients and families."""
    tails = [familywise_p(row[people.is_member], row[~people.is_member]) for row in table]
    p = min(1.0, len(tails) * min(float(tail.values.min()) for tail in tails))
    return Measured(
        metric=Metric.MEMBERSHIP_MAX_P, value=p, n=people.members, indicator=any(tail.extrapolated for tail in tails)
    )


def _each(scores: Floats, people: Pool) -> Floats:
    p = np.full(scores.size, np.nan)
    p[people.is_member] = conformal_p(scores[people.is_member], scores[~people.is_member])
    return p


def _measured(metric: Metric, estimate: Estimate, control: float, people: Pool) -> Measurement:
    return Measured(
        metric=metric,
        value=estimate.value,
        low=min(estimate.low, estimate.value),
        high=estimate.high,
        control=control,
        n=people.members,
    )


def _roc(scores: Floats, people: Pool) -> Curve:
    members, others = scores[people.is_member], scores[~people.is_member]
    rates = [1.0 if fpr >= 1 else tpr_at(members, others, fpr) for fpr in GRID]
    return Curve(id="membership_roc", x=GRID, y=tuple(rates))


def _unmeasured(reason: Reason) -> MembershipOutcome:
    return MembershipOutcome(tuple(Unmeasured(metric=m, reason=reason) for m in MEMBERSHIP))
