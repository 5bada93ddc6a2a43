"""1:N identification: how near the top of a ranking of all patients a reconstruction puts one of them.

    rank(r, i) = #{j : s(r, j) >= s(r, i)},    CMC(k) = share of patients i with min over r of rank(r, i) <= k

A reconstruction r is the probe, the patients of both cohorts are the gallery, and the cumulative match characteristic
counts who is among the k nearest of any reconstruction (closed-set identification, Phillips, Grother and Micheals 2011,
Handbook of Face Recognition, ch. 21). A probe of unknown identity has no hit of its own: what hold-out patients reach
in the same gallery is what chance gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reid_audit.records import Measured, Metric
from reid_audit.score.calibration import Bools, Floats, exceedance_p, permuted_labels, share_interval
from reid_audit.score.patients import Pool

Ranks = NDArray[np.int64]
RATES: dict[Metric, int] = {Metric.IDENTIFICATION_RATE: 1, Metric.IDENTIFICATION_RATE_AT_10: 10}
"""Metric -> how many nearest patients of a reconstruction count."""
SHOWN = (1, 5, 10, 20, 50)
"""Ranks of the restricted page's table."""


@dataclass(frozen=True, slots=True)
class Match:
    """One point of the cumulative match characteristic."""

    rank: int
    training: float
    """Share of training patients at this rank or a nearer one."""
    holdout: float
    """The same of hold-out patients: chance."""


def ranks(scores: Floats) -> Ranks:
    """[R, P] rank of each patient for each reconstruction, from scores [R, P]: 1 is nearest.

    Patients who are equally near have the worst rank of them all, so that a scorer that cannot tell them apart
    identifies nobody.
    """
    return np.asarray(stats.rankdata(-np.round(scores, 9), method="max", axis=1), dtype=np.int64)


def identification_rates(ranked: Ranks, people: Pool, rng: np.random.Generator, draws: int) -> tuple[Measured, ...]:
    """The share of training patients within the ranks of ``RATES``, from ranks [R, P].

    Beside each the share of as many hold-out patients of the same film classes and strata, a Clopper-Pearson interval,
    and the permutation p, over patients, of the excess (``draws`` permutations of the labels within strata).
    """
    best = ranked.min(axis=0)
    labels = np.vstack(list(permuted_labels(people.is_member, people.strata, draws, rng)))
    return tuple(_rate(metric, best <= rank, people, labels) for metric, rank in RATES.items())


def _rate(metric: Metric, hit: Bools, people: Pool, labels: Bools) -> Measured:
    found = int(hit[people.is_member].sum())
    share = share_interval(found, people.members)
    null = labels.astype(np.float64) @ hit.astype(np.float64)
    return Measured(
        metric=metric,
        value=share.value,
        low=share.low,
        high=share.high,
        control=by_chance(hit, people),
        n=people.members,
        p=exceedance_p(float(found), null),
    )


def by_chance(hit: Bools, people: Pool) -> float:
    """Share of hold-out patients who are ``hit`` [P], with film classes and strata as frequent as in training.

    A stratum without a hold-out patient counts as all of them together do.
    """
    everywhere = float(hit[~people.is_member].mean())
    expected = np.full(hit.size, everywhere)
    for label in np.unique(people.strata):
        here = people.strata == label
        if (others := here & ~people.is_member).any():
            expected[here] = hit[others].mean()
    return float(expected[people.is_member].mean())


def cumulative_match(ranked: Ranks, is_member: Bools) -> tuple[Match, ...]:
    """The cumulative match characteristic at ``SHOWN``, as far as there are patients; ranks [R, P]."""
    best = ranked.min(axis=0)
    return tuple(
        Match(k, float((best[is_member] <= k).mean()), float((best[~is_member] <= k).mean()))
        for k in SHOWN
        if k < best.size
    )
