"""Who is given away: patients told one by one, and the rate of each group of patients.

    rate(g) = share of the training patients of group g above the threshold that 1 % of all hold-out patients exceed
    disparity = max over groups of rate(g) - rate(everybody else)

Aggregate success near chance can hide single patients, mostly of under-represented groups, who are told almost
perfectly (Knolle et al., Nature 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reid_audit.records import GroupedBy, Measured, Measurement, Metric, Reason, Subgroup, Unmeasured
from reid_audit.score.calibration import FPR, Bools, Floats, conformal_p, exceedance_p, rank_at, share_interval

SMALLEST = 10
"""Training patients a group needs, and everybody else together too."""
PERMUTATIONS = 1999
SUBGROUPS = (Metric.MEMBERSHIP_WORST_GROUP, Metric.MEMBERSHIP_DISPARITY)


@dataclass(frozen=True, slots=True, eq=False)
class SubgroupOutcome:
    """Rates of groups; each has ``SMALLEST`` training patients or more."""

    measurements: tuple[Measurement, ...]
    groups: tuple[Subgroup, ...] = ()


def subgroups(
    scores: Floats, is_member: Bools, attributes: Mapping[GroupedBy, NDArray[np.str_]], rng: np.random.Generator
) -> SubgroupOutcome:
    """Rates at 1 % false alarms by group, and whether the largest disparity is more than chance.

    scores [P] of patients, larger is more member-like, comparable across film classes. attributes: what is known of the
    patients, name -> [P] words, "" where unknown. Chance deals out anew which training patients are told, and the
    largest standardised difference is compared: exact, and corrected for looking at every group. Ends of the worst
    group's interval are corrected too.
    """
    others = np.sort(scores[~is_member])[::-1]
    told = scores[is_member] > others[rank_at(others.size, FPR)]
    found = [
        (by, word, here)
        for by, words in attributes.items()
        for word in np.unique(words[is_member])
        if word and SMALLEST <= (here := words[is_member] == word).sum() <= told.size - SMALLEST
    ]
    if not found:
        return SubgroupOutcome(tuple(Unmeasured(metric=m, reason=Reason.NO_GROUPS) for m in SUBGROUPS))
    inside = np.stack([here for _, _, here in found]).astype(np.float64)
    level = 0.05 / len(found)
    rows = []
    for (by, word, here), apart in zip(found, differences(inside, told[:, None].astype(np.float64))[:, 0], strict=True):
        rate = share_interval(int(told[here].sum()), int(here.sum()))
        rows.append(
            Subgroup(
                by=by, name=str(word), patients=int(here.sum()), told=int(told[here].sum()),
                rate=rate.value, low=rate.low, high=rate.high, difference=float(apart),
            )
        )  # fmt: skip
    ends = [share_interval(row.told, row.patients, level=level) for row in rows]
    worst = max(range(len(rows)), key=lambda i: (ends[i].low, ends[i].value))
    most = max(range(len(rows)), key=lambda i: rows[i].difference)
    measurements = (
        Measured(
            metric=Metric.MEMBERSHIP_WORST_GROUP, value=rows[worst].rate, low=ends[worst].low,
            high=max(end.high for end in ends), control=float(told.mean()), n=rows[worst].patients,
        ),
        Measured(
            metric=Metric.MEMBERSHIP_DISPARITY, value=rows[most].difference, control=0.0, n=rows[most].patients,
            p=disparity_p(inside, told, rng),
        ),
    )  # fmt: skip
    return SubgroupOutcome(measurements, tuple(rows))


def differences(inside: Floats, told: Floats) -> Floats:
    """[G, B] rate of each group less that of everybody else; inside [G, M], told [M, B]."""
    sizes = inside.sum(axis=1, keepdims=True)
    within = inside @ told
    return np.asarray(within / sizes - (told.sum(axis=0) - within) / (inside.shape[1] - sizes))


def disparity_p(inside: Floats, told: Bools, rng: np.random.Generator) -> float:
    """p of the largest standardised difference among all groups, whether each was told dealt out anew."""
    dealt = np.stack([told, *(rng.permutation(told) for _ in range(PERMUTATIONS))], axis=1).astype(np.float64)
    sizes = inside.sum(axis=1, keepdims=True)
    width = np.sqrt(1.0 / sizes + 1.0 / (inside.shape[1] - sizes))
    largest = (differences(inside, dealt) / width).max(axis=0)
    return exceedance_p(float(largest[0]), largest[1:])


def recognised(table: Floats, is_member: Bools, level: float) -> Bools:
    """[P] training patients that stand out from the hold-out one by one, at false-discovery rate ``level``.

    table [F, P]: scores of each family. Conformal p of each patient, the least over the families times their number,
    rejected by Benjamini and Hochberg (1995).
    """
    each = np.stack([conformal_p(row[is_member], row[~is_member]) for row in table])
    p = np.minimum(1.0, len(table) * each.min(axis=0))
    found = np.zeros(is_member.size, dtype=bool)
    found[is_member] = stats.false_discovery_control(p, method="bh") <= level
    return found


def recognised_patients(found: Bools, is_member: Bools) -> Measured:
    """How many patients ``recognised`` gives."""
    return Measured(metric=Metric.RECOGNISED_PATIENTS, value=int(found.sum()), control=0.0, n=int(is_member.sum()))
