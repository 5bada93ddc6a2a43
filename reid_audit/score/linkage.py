"""Do reconstructions single out training patients among hold-out patients?

There are four tests, named as in the reports: ``linkage_p`` (T1), ``reidentified_patients`` (T2), ``single_hit`` (T3)
and ``linkage_tpr_at_1pct_fpr`` (T4); each has its page in docs/metrics. Beside them stand the rates of 1:N
identification (identification.py), on which no verdict rests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from reid_audit.records import METRICS, RATE_HOLDOUT, Histogram, Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.calibration import (
    Bools,
    Floats,
    auc_estimate,
    class_conformal_p,
    familywise_p,
    least_p,
    permuted_labels,
    smallest_count,
    tpr_estimate,
)
from reid_audit.score.comparison import Comparison
from reid_audit.score.identification import RATES, Ranks, identification_rates, ranks
from reid_audit.score.patients import Owners, Pool, pool
from reid_audit.score.similarity import aligned_ncc, without_hubs

PRODUCT = 1 << 22
"""Labels that are numbers at a time."""
SCAN = (4, 8, 16, 32, 64)
"""How many best patients the scan statistic looks at."""
FEWEST = METRICS[Metric.LINKAGE_P].fewest[0]
"""Patients needed on each cohort before anything is tested."""


@dataclass(frozen=True, slots=True, eq=False)
class LinkageOutcome:
    """Linkage evidence. ``measurements`` and ``histograms`` may be published; the arrays are restricted."""

    measurements: tuple[Measurement, ...]
    histograms: tuple[Histogram, ...] = ()
    p: float = 1.0
    """T1: the exact p-value of rank statistic and scan together."""
    auc: float = 0.5
    smallest_count: int = 0
    """Smallest non-zero ``reidentified_patients`` these cohorts can give."""
    ids: NDArray[np.str_] | None = None
    """[P] patients, in the order of the arrays below."""
    is_member: Bools | None = None
    scores: Floats | None = None
    """[P] best match score of each patient."""
    best: NDArray[np.int64] | None = None
    """[P] the reconstruction that gave it."""
    patient_p: Floats | None = None
    """[P] T2: conformal p of each training patient, NaN for hold-out patients."""
    reported: Bools | None = None
    """[P] T2: who is counted in ``reidentified_patients``."""
    ranks: Ranks | None = None
    """[R, P] rank of each patient for each reconstruction; 1 is nearest."""


def linkage(
    comparison: Comparison,
    images: Tensor,
    rng: np.random.Generator,
    *,
    permutations: int = 9999,
    level: float = 0.10,
    draws: int = 1000,
    shift: int = 2,
) -> LinkageOutcome:
    """``link`` for images [R, C, H, W], under both scorers. shift: pixels tried by the second, either way."""
    return link(
        without_hubs(comparison.near(images)).double().numpy(),
        comparison.owners,
        rng,
        second=aligned_ncc(images, comparison.small, shift=shift).double().numpy(),
        permutations=permutations,
        level=level,
        draws=draws,
    )


def link(
    scores: Floats,
    owners: Owners,
    rng: np.random.Generator,
    *,
    second: Floats | None = None,
    permutations: int = 9999,
    level: float = 0.10,
    draws: int = 1000,
) -> LinkageOutcome:
    """Test whether training patients match the frozen reconstructions better than hold-out patients.

    ``scores`` [R, N] are the match scores of R reconstructions with N pooled films (larger is more alike), and
    ``second`` those of the second scorer, which ``single_hit`` asks too. ``level`` is the false-discovery rate of
    ``reidentified_patients``, ``draws`` the number of bootstrap draws of the intervals. Raises CohortError where a
    patient is in both cohorts.
    """
    scores = np.asarray(scores, dtype=np.float64)
    people = pool(owners, scores, rng)
    if people.members < FEWEST or people.others < FEWEST:
        short = Reason.TOO_FEW_REFERENCE if people.members < FEWEST else Reason.TOO_FEW_HOLDOUT
        return LinkageOutcome(tuple(Unmeasured(metric=m, reason=short) for m in LINKAGE))
    matrix = above_best(people.by_patient(scores))
    raw = matrix.max(axis=0)
    levelled = people.levelled(raw)
    first, histogram = _label_test(levelled, people, rng, permutations)
    p, reported = discoveries(levelled, people.is_member, people.classes, level)
    ranked = ranks(matrix)
    area = auc_estimate(levelled, people.is_member, people.strata, rng, draws=draws)
    measurements = (
        Measured(metric=Metric.LINKAGE_P, value=first, n=people.members),
        Measured(
            metric=Metric.LINKAGE_AUC, value=area.value, low=area.low, high=area.high, control=0.5, n=people.members
        ),
        nearest_share(matrix, people, rng),
        reidentified(levelled, people, int(reported.sum()), level, rng),
        single_hits(matrix, None if second is None else people.by_patient(np.asarray(second, np.float64)), people),
        linkage_tpr(levelled, people, rng, 2 * draws),
        *identification_rates(ranked, people, rng, draws),
    )
    return LinkageOutcome(
        measurements=measurements,
        histograms=(histogram,),
        p=first,
        auc=area.value,
        smallest_count=smallest_count(people.members, people.others, level),
        ids=people.ids,
        is_member=people.is_member,
        scores=raw,
        best=matrix.argmax(axis=0),
        patient_p=p,
        reported=reported,
        ranks=ranked,
    )


LINKAGE = (
    Metric.LINKAGE_P,
    Metric.LINKAGE_AUC,
    Metric.NEAREST_MEMBER_SHARE,
    Metric.REIDENTIFIED_PATIENTS,
    Metric.SINGLE_HIT,
    Metric.LINKAGE_TPR,
    *RATES,
)
"""The metrics ``link`` produces, in its order."""


def _label_test(scores: Floats, people: Pool, rng: np.random.Generator, permutations: int) -> tuple[float, Histogram]:
    """T1: labels permuted within strata; rank statistic and scan combined by the smaller p (exact)."""
    labels = np.vstack([people.is_member[None], *permuted_labels(people.is_member, people.strata, permutations, rng)])
    ranks = rank_areas(scores, people, labels)
    both = np.stack([ranks, scan_statistic(scores, people, labels)])
    counts, edges = np.histogram(ranks[1:], bins=40)
    histogram = Histogram(
        id=Metric.LINKAGE_AUC,
        edges=tuple(float(e) for e in edges),
        counts=tuple(int(c) for c in counts),
        observed=float(ranks[0]),
    )
    return least_p(both), histogram


def rank_areas(scores: Floats, people: Pool, labels: Bools) -> Floats:
    """[B] stratified AUC (van Elteren 1960 weights) of each label vector [B, P]."""
    weights = np.zeros(scores.size)
    offset = pairs = 0.0
    for label in np.unique(people.strata):
        here = people.strata == label
        size, members = int(here.sum()), int((here & people.is_member).sum())
        weights[here] = stats.rankdata(scores[here]) / (size + 1)
        offset += members * (members + 1) / 2 / (size + 1)
        pairs += members * (size - members) / (size + 1)
    if pairs == 0:
        return np.full(labels.shape[0], 0.5)
    rows = max(1, PRODUCT // max(1, scores.size))
    parts = (labels[start : start + rows].astype(np.float64) @ weights for start in range(0, len(labels), rows))
    return np.asarray((np.concatenate(list(parts)) - offset) / pairs)


def scan_statistic(scores: Floats, people: Pool, labels: Bools) -> Floats:
    """[B] largest standardised excess of members among the K best patients, K in ``SCAN`` (few strong leaks)."""
    order = np.argsort(-scores, kind="stable")
    best = np.full(labels.shape[0], -np.inf)
    top = order[: max(SCAN)]
    found = np.cumsum(labels[:, top], axis=1, dtype=np.int64)
    for k in SCAN:
        if k >= scores.size:
            break
        mean = variance = 0.0
        for label in np.unique(people.strata):
            here = people.strata == label
            size, drawn = int(here.sum()), int(here[order[:k]].sum())
            share = float(people.is_member[here].mean())
            mean += drawn * share
            variance += drawn * share * (1 - share) * (size - drawn) / max(1, size - 1)
        if variance > 0:
            best = np.maximum(best, (found[:, k - 1] - mean) / variance**0.5)
    return np.where(np.isfinite(best), best, 0.0)


def nearest_share(matrix: Floats, people: Pool, rng: np.random.Generator) -> Measurement:
    """Share of reconstructions whose nearest patient was in training, beside chance.

    Patients are bootstrapped, each with all its reconstructions, as weights of one matrix product.
    """
    nearest = matrix.argmax(axis=1)
    patients, counts = np.unique(nearest, return_counts=True)
    hits = people.is_member[patients]
    weights = rng.multinomial(patients.size, np.full(patients.size, 1 / patients.size), 1000) * counts
    shares = (weights @ hits) / weights.sum(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return Measured(
        metric=Metric.NEAREST_MEMBER_SHARE,
        value=float(people.is_member[nearest].mean()),
        low=float(low),
        high=float(high),
        control=float(chance_of_member(people)[nearest].mean()),
        n=int(matrix.shape[0]),
    )


def above_best(matrix: Floats, hubs: int = 10) -> Floats:
    """[R, P] each row minus the mean of its 10 best patients.

    Over patients, not films: a look-alike with many films would otherwise fill the 10 best and lower its own score.
    """
    count = min(hubs, matrix.shape[1])
    best = np.partition(matrix, matrix.shape[1] - count, axis=1)[:, -count:]
    return np.asarray(matrix - best.mean(axis=1, keepdims=True))


def chance_of_member(people: Pool) -> Floats:
    """[P] share of training patients in each patient's stratum."""
    chance = np.empty(people.strata.size)
    for label in np.unique(people.strata):
        here = people.strata == label
        chance[here] = people.is_member[here].mean()
    return chance


def reidentified(scores: Floats, people: Pool, found: int, level: float, rng: np.random.Generator) -> Measurement:
    """T2: ``found`` training patients at false-discovery rate ``level``.

    The control repeats the count with hold-out patients playing the training patients (half of them at most).
    """
    others = np.flatnonzero(~people.is_member)
    pretend = np.zeros(scores.size, dtype=bool)
    pretend[rng.permutation(others)[: min(people.members, others.size // 2)]] = True
    keep = ~people.is_member
    _, control = discoveries(scores[keep], pretend[keep], people.classes[keep], level)
    return Measured(metric=Metric.REIDENTIFIED_PATIENTS, value=found, control=int(control.sum()), n=people.members)


def discoveries(scores: Floats, is_member: Bools, classes: NDArray[np.int64], level: float) -> tuple[Floats, Bools]:
    """([P] conformal p within film classes, NaN for hold-out; [P] rejections of Benjamini-Hochberg at ``level``)."""
    p, reported = np.full(scores.size, np.nan), np.zeros(scores.size, dtype=bool)
    p[is_member] = class_conformal_p(scores, is_member, classes)
    reported[is_member] = stats.false_discovery_control(p[is_member], method="bh") <= level
    return p, reported


def single_hits(matrix: Floats, second: Floats | None, people: Pool) -> Measurement:
    """T3: training patients identified one among all, family-wise error 0.01, both scorers naming the same patient.

    A patient is hit when the family-wise p of its best score is at most 0.01, and the reconstruction that gave it has
    that patient as its nearest under both scorers. An indicator where the hold-out cannot resolve the tail.
    """
    if second is None:
        return Unmeasured(metric=Metric.SINGLE_HIT, reason=Reason.NOT_COMPUTED)
    levelled = people.levelled(matrix.max(axis=0))
    tail = familywise_p(levelled[people.is_member], levelled[~people.is_member])
    members = np.flatnonzero(people.is_member)
    best = matrix.argmax(axis=0)[members]
    agree = (matrix.argmax(axis=1)[best] == members) & (second.argmax(axis=1)[best] == members)
    hits = int(np.count_nonzero((tail.values <= 0.01) & agree))
    return Measured(metric=Metric.SINGLE_HIT, value=hits, control=0.0, n=people.members, indicator=tail.extrapolated)


def linkage_tpr(scores: Floats, people: Pool, rng: np.random.Generator, draws: int = 2000) -> Measurement:
    """T4: share of training patients above the 1 % false-positive threshold of the hold-out."""
    if people.others < RATE_HOLDOUT:
        return Unmeasured(metric=Metric.LINKAGE_TPR, reason=Reason.TOO_FEW_HOLDOUT)
    tpr = tpr_estimate(scores[people.is_member], scores[~people.is_member], rng, draws=draws)
    return Measured(
        metric=Metric.LINKAGE_TPR, value=tpr.value, low=tpr.low, high=tpr.high, control=0.01, n=people.members
    )


def negative_control(outcome: LinkageOutcome) -> Measurement:
    """The linkage p of the attack without target information, as ``negative_control_p``; must not be small."""
    return _as_control(outcome, Metric.NEGATIVE_CONTROL_P)


def attack_power(outcome: LinkageOutcome) -> Measurement:
    """The linkage p of the attack on the copy that memorised canaries, as ``attack_power``.

    It must be small, or a silent attack means nothing.
    """
    return _as_control(outcome, Metric.ATTACK_POWER)


def _as_control(outcome: LinkageOutcome, metric: Metric) -> Measurement:
    linkage = outcome.measurements[0]
    if isinstance(linkage, Unmeasured):
        return Unmeasured(metric=metric, reason=linkage.reason)
    return Measured(metric=metric, value=linkage.value, n=linkage.n)
