"""Who is given away: patients recognised one by one, and the rate of each group of patients.

    rate(g) = share of the training patients of group g above the threshold that 1 % of all hold-out patients exceed
    disparity = max over groups of rate(g) - rate(everybody else)

Aggregate success near chance can hide single patients, mostly of under-represented groups, who are recognised almost
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
    patients, name -> [P] words, "" where unknown. Chance deals out anew which training patients are recognised, and the
    largest standardised difference is compared: exact, and corrected for looking at every group. Ends of the worst
    group's interval are corrected too.
    """
    others = np.sort(scores[~is_member])[::-1]
    recognised = scores[is_member] > others[rank_at(others.size, FPR)]
    found = [
        (by, word, here)
        for by, words in attributes.items()
        for word in np.unique(words[is_member])
        if word and SMALLEST <= (here := words[is_member] == word).sum() <= recognised.size - SMALLEST
    ]
    if not found:
        return SubgroupOutcome(tuple(Unmeasured(metric=m, reason=Reason.NO_GROUPS) for m in SUBGROUPS))
    inside = np.stack([here for _, _, here in found]).astype(np.float64)
    level = 0.05 / len(found)
    rows = []
    apart_of = differences(inside, recognised[:, None].astype(np.float64))[:, 0]
    for (by, word, here), apart in zip(found, apart_of, strict=True):
        rate = share_interval(int(recognised[here].sum()), int(here.sum()))
        rows.append(
            Subgroup(
                by=by, name=str(word), patients=int(here.sum()), recognised=int(recognised[here].sum()),
                rate=rate.value, low=rate.low, high=rate.high, difference=float(apart),
            )
        )  # fmt: skip
    ends = [share_interval(row.recognised, row.patients, level=level) for row in rows]
    worst = max(range(len(rows)), key=lambda i: (ends[i].low, ends[i].value))
    most = max(range(len(rows)), key=lambda i: rows[i].difference)
    measurements = (
        Measured(
            metric=Metric.MEMBERSHIP_WORST_GROUP, value=rows[worst].rate, low=ends[worst].low,
            high=max(end.high for end in ends), control=float(recognised.mean()), n=rows[worst].patients,
        ),
        Measured(
            metric=Metric.MEMBERSHIP_DISPARITY, value=rows[most].difference, control=0.0, n=rows[most].patients,
            p=disparity_p(inside, recognised, rng),
        ),
    )  # fmt: skip
    return SubgroupOutcome(measurements, tuple(rows))


def differences(inside: Floats, recognised: Floats) -> Floats:
    """[G, B] rate of each group less that of everybody else; inside [G, M], recognised [M, B]."""
    sizes = inside.sum(axis=1, keepdims=True)
    within = inside @ recognised
    return np.asarray(within / sizes - (recognised.sum(axis=0) - within) / (inside.shape[1] - sizes))


def disparity_p(inside: Floats, recognised: Bools, rng: np.random.Generator) -> float:
    """p of the largest standardised difference among all groups, whether each was recognised dealt out anew."""
    anew = (rng.permutation(recognised) for _ in range(PERMUTATIONS))
    dealt = np.stack([recognised, *anew], axis=1).astype(np.float64)
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
