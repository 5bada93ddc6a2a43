"""Tests and bounds the metrics share: permutations, conformal p-values, intervals, and the sample size a gate needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FPR = 0.01
"""False positive rate at which true positives are counted."""
FAINTEST = 1e-6
"""Extrapolated tails are not trusted below this."""
ONE_SIDED = 1.645
"""Standard errors from the estimate where its one-sided 95 % interval ends."""
_CHUNK = 2_000_000
_PAIRS = 1 << 22
"""Comparisons of two patients that are held at a time."""
_DRAWN = 1 << 24
"""Patients that bootstrap draws hold at a time."""


def permuted_labels(
    is_member: Bools, strata: NDArray[np.int64], count: int, rng: np.random.Generator
) -> Iterator[Bools]:
    """``count`` label vectors permuted within strata, in chunks [b, P] that fit into memory."""
    rows = max(1, _CHUNK // max(1, is_member.size))
    groups = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    for begin in range(0, count, rows):
        size = min(rows, count - begin)
        labels = np.empty((size, is_member.size), dtype=bool)
        for group in groups:
            labels[:, group] = rng.permuted(np.tile(is_member[group], (size, 1)), axis=1)
        yield labels


def exceedance_p(observed: float, null: Floats) -> float:
    """Permutation p-value (1 + #{null >= observed}) / (1 + B): exact when labels are exchangeable."""
    slack = 1e-9 * max(1.0, abs(observed))
    return float((1 + np.count_nonzero(null >= observed - slack)) / (1 + null.size))


def least_p(statistics: Floats) -> float:
    """One exact p-value for several statistics (Westfall and Young 1993, single-step minP).

    The first column of ``statistics`` [S, 1 + B] is observed, the others are those under permuted labels. The p-value
    is uniform under the null whatever the dependence between the statistics, so nothing is lost to a Bonferroni factor.
    """
    rounded = np.round(statistics, 9)
    ranks = np.stack([stats.rankdata(-row, method="max") for row in rounded])
    smallest = ranks.min(axis=0)
    return float(np.count_nonzero(smallest <= smallest[0]) / smallest.size)


def auc(members: Floats, others: Floats) -> float:
    """Chance that a member outscores a non-member; ties count half."""
    ranks = stats.rankdata(np.r_[members, others])
    n = members.size
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * others.size))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def auc_estimate(
    scores: Floats,
    is_member: Bools,
    strata: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    level: float = 0.05,
    draws: int = 1000,
) -> Estimate:
    """Stratified AUC (van Elteren weights) with a patient-bootstrap interval at ``1 - level``.

    Patients are resampled within strata as weights, with one matrix product for all draws, because
    scipy.stats.bootstrap knows no strata and would rank again in every draw.
    """
    wins = np.zeros(draws + 1)
    pairs = np.zeros(draws + 1)
    for label in np.unique(strata):
        a, b = scores[(strata == label) & is_member], scores[(strata == label) & ~is_member]
        if a.size == 0 or b.size == 0:
            continue
        weight_a = np.vstack([np.ones(a.size), rng.multinomial(a.size, np.full(a.size, 1 / a.size), draws)])
        weight_b = np.vstack([np.ones(b.size), rng.multinomial(b.size, np.full(b.size, 1 / b.size), draws)])
        step = max(1, _PAIRS // a.size)
        for start in range(0, b.size, step):
            part = slice(start, start + step)
            better = (a[:, None] > b[part]) + 0.5 * (a[:, None] == b[part])
            wins += ((weight_a @ better) * weight_b[:, part]).sum(axis=1) / (a.size + b.size + 1)
        pairs += a.size * b.size / (a.size + b.size + 1)
    if pairs[0] == 0:
        return Estimate(0.5, 0.0, 1.0)
    values = wins / pairs
    low, high = np.quantile(values[1:], (level / 2, 1 - level / 2))
    return Estimate(float(values[0]), float(low), float(high))


def tpr_at(members: Floats, others: Floats, fpr: float = FPR) -> float:
    """Share of members above the threshold that a new non-member exceeds with probability ``fpr``.

    The j-th largest of n non-members is exceeded with probability j / (n + 1), so j = round(fpr (n + 1)), at least 1;
    the empirical rate (j - 1) / n never exceeds ``fpr``.
    """
    return float(_rates(members, others, fpr))


def rank_at(n: int, fpr: float) -> int:
    """Place (0: the largest) among ``n`` non-members of the threshold at ``fpr``."""
    return min(n - 1, max(1, round(fpr * (n + 1))) - 1)


def tpr_estimate(
    members: Floats,
    others: Floats,
    rng: np.random.Generator,
    *,
    level: float = 0.05,
    draws: int = 2000,
    fpr: float = FPR,
) -> Estimate:
    """TPR at ``fpr`` with an interval at ``1 - level``.

    The patient bootstrap re-estimates the threshold in every draw, so the threshold's noise is in the interval; it is
    blind to shares of 0 and 1, where Clopper-Pearson is not. The interval is the hull of both.
    """
    value = tpr_at(members, others, fpr)
    exact = share_interval(round(value * members.size), members.size, level=level)
    drawn = stats.bootstrap(
        (members, others),
        lambda a, b, axis: _rates(a, b, fpr),
        n_resamples=draws,
        confidence_level=1 - level,
        method="percentile",
        batch=max(1, min(draws, _DRAWN // max(members.size, others.size))),
        rng=rng,
    ).confidence_interval
    return Estimate(value, min(float(drawn.low), exact.low), max(float(drawn.high), exact.high))


def _rates(members: Floats, others: Floats, fpr: float) -> Floats:
    """The rate of ``tpr_at``, taken along the last axis."""
    allowed = rank_at(others.shape[-1], fpr)
    threshold = -np.partition(-others, allowed, axis=-1)[..., allowed]
    return np.asarray(np.mean(members > threshold[..., None], axis=-1))


def share_interval(hits: int, n: int, *, level: float = 0.05) -> Estimate:
    """hits / n with the Clopper-Pearson interval at ``1 - level``.

    The ends are those of scipy.stats.binomtest's exact interval (a test compares them) without its 5 ms of root
    finding, because the sample-size searches ask for hundreds of intervals.
    """
    low = special.betaincinv(hits, n - hits + 1, level / 2) if hits else 0.0
    high = special.betaincinv(hits + 1, n - hits, 1 - level / 2) if hits < n else 1.0
    return Estimate(hits / n, float(low), float(high))


def conformal_p(members: Floats, others: Floats) -> Floats:
    """[n_T] conformal p-values (1 + #{others >= score}) / (n_H + 1) (Bates et al. 2023)."""
    ordered = np.sort(others)
    return np.asarray((1 + others.size - np.searchsorted(ordered, members, side="left")) / (others.size + 1))


def class_conformal_p(scores: Floats, is_member: Bools, classes: NDArray[np.int64]) -> Floats:
    """[n_T] conformal p-values, each against the hold-out patients of its own class; 1 where there are none."""
    result = np.ones(scores.size)
    for label in np.unique(classes):
        here = classes == label
        others = scores[here & ~is_member]
        if others.size:
            result[here & is_member] = conformal_p(scores[here & is_member], others)
    return result[is_member]


@dataclass(frozen=True, slots=True)
class TailP:
    """Tail p-values of some scores, and whether the hold-out resolved them."""

    values: Floats
    extrapolated: bool


def familywise_p(members: Floats, others: Floats, *, level: float = 0.01) -> TailP:
    """[n_T] p-values corrected for looking at all n_T members.

    Conformal where ``n_H + 1 >= n_T / level``, so that a hit at ``level`` can be resolved. Otherwise the tail beyond
    the hold-out's 90th percentile is extrapolated with an exponential (heavier than the Gaussian tail of maxima of
    cosines), and the result is an indicator. The scale is estimated from few excesses, so a new excess over their mean
    follows F(2, 2 m), not an exponential.
    """
    p = conformal_p(members, others)
    extrapolated = others.size + 1 < members.size / level
    if extrapolated:
        threshold = float(np.quantile(others, 0.9))
        excess = others[others > threshold] - threshold
        above = members > threshold
        relative = (members[above] - threshold) / max(float(excess.mean()) if excess.size else 0.0, 1e-300)
        beyond = (1 + excess.size) / (1 + others.size)
        p[above] = np.maximum(beyond * stats.f.sf(relative, 2, 2 * max(1, excess.size)), FAINTEST)
    return TailP(np.minimum(1.0, p * members.size), extrapolated)


@lru_cache(maxsize=64)
def members_needed(clear: float, *, fpr: float = FPR) -> int:
    """Fewest training patients with which a clean model's TPR interval can end at or below ``clear``.

    A clean model's TPR is about ``fpr``: the Clopper-Pearson upper end of ``ceil(fpr n)`` hits in n must reach it.
    """
    n = 1
    while share_interval(math.ceil(fpr * n), n).high > clear:
        n += 1
        if n > 100_000:
            return n
    return n


def holdout_needed(members: int, q: float, found: int = 1) -> int:
    """Fewest hold-out patients with which Benjamini-Hochberg at ``q`` can report ``found`` of ``members`` patients."""
    return max(0, math.ceil(members / (q * found)) - 1)


def smallest_count(members: int, others: int, q: float) -> int:
    """Smallest non-zero number of patients that conformal p-values and Benjamini-Hochberg at ``q`` can report."""
    return math.ceil(members / (q * (others + 1)))
