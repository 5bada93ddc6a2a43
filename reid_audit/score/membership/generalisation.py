"""Generalisation gap: how much more often a network is right on the films it was trained on.

    gap = mean over training patients of their share of right answers - the same over hold-out patients

A membership attack by the loss gains no more than the gap (Yeom et al., CSF 2018), and it is the usual sign that single
films were memorised. Of a network that gives a number, how right an answer is is 1 less its error over the mean
distance of the labels from their median.
"""

from __future__ import annotations

import numpy as np

from reid_audit.records import Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.calibration import Floats
from reid_audit.score.patients import Owners, mean_by_patient

DRAWS = 2000


def generalisation_gap(right: Floats | None, owners: Owners, rng: np.random.Generator) -> Measurement:
    """``right`` [N]: how right the network is about each film, 1 for entirely; None where its labels are not known.

    The interval is a bootstrap over patients. Without two patients of each cohort there is no measurement.
    """
    if right is None:
        return Unmeasured(metric=Metric.GENERALISATION_GAP, reason=Reason.NO_LABELS)
    members, others = (mean_by_patient(right, owners, members=side) for side in (True, False))
    if members.size < 2 or others.size < 2:
        few = Reason.TOO_FEW_REFERENCE if members.size < 2 else Reason.TOO_FEW_HOLDOUT
        return Unmeasured(metric=Metric.GENERALISATION_GAP, reason=few)
    drawn = _means(members, rng) - _means(others, rng)
    low, high = np.quantile(drawn, (0.025, 0.975))
    value = float(members.mean() - others.mean())
    return Measured(
        metric=Metric.GENERALISATION_GAP, value=value, low=float(low), high=float(high), n=int(members.size)
    )


def _means(values: Floats, rng: np.random.Generator) -> Floats:
    weights = rng.multinomial(values.size, np.full(values.size, 1 / values.size), DRAWS)
    return np.asarray(weights @ values / values.size)
