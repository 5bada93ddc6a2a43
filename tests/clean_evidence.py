"""Measurements of a network that nothing speaks against, and the verdict on them where some are changed."""

from __future__ import annotations

from datetime import date

from reid_audit.judge import Case, judge
from reid_audit.records import Measured, Measurement, Metric, Overlap, Policy, Verdict, Waiver

DIGEST = "a" * 64
TODAY = date(2026, 3, 1)


def measured(
    metric: Metric, value: float, low: float | None = None, high: float | None = None, **more: object
) -> Measured:
    return Measured.model_validate({"metric": metric, "value": value, "low": low, "high": high, **more})


CLEAN: tuple[Measured, ...] = (
    measured(Metric.LINKAGE_P, 0.4, n=388),
    measured(Metric.LINKAGE_AUC, 0.51, 0.47, 0.55, control=0.5),
    measured(Metric.REIDENTIFIED_PATIENTS, 0, control=0),
    measured(Metric.SINGLE_HIT, 0, control=0, indicator=True),
    measured(Metric.LINKAGE_TPR, 0.01, 0.0, 0.03, n=388),
    measured(Metric.MEMBERSHIP_AUC, 0.54, 0.49, 0.58, control=0.5, n=388),
    measured(Metric.MEMBERSHIP_TPR, 0.01, 0.0, 0.04, n=388),
    measured(Metric.LIKELY_SAMPLES, 14, 8, 20, control=15),
    measured(Metric.NEAREST_SSIM, 0.45, 0.42, 0.48, control=0.45),
    measured(Metric.NEAREST_NN, 0.44, 0.41, 0.47, control=0.45),
    measured(Metric.ATTACK_POWER, 0.001),
    measured(Metric.SCORER_SENSITIVITY, 0.8, 0.7, 0.9),
    measured(Metric.MEMBERSHIP_CONTROL, 1.0),
    measured(Metric.PREPROCESS_FIT, 0.1),
    measured(Metric.NEGATIVE_CONTROL_P, 0.5),
    measured(Metric.EXCHANGEABILITY_P, 0.6),
)


def changed(*changes: Measurement) -> tuple[Measurement, ...]:
    new = {c.metric for c in changes}
    return (*(m for m in CLEAN if m.metric not in new), *changes)


def judged(
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
