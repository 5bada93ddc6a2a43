"""Likely samples: reconstructions the weights prefer to anything the prior offers, and whom they resemble."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.imaging.stack import Stack
from reid_audit.records import Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.calibration import Bools, Floats, permuted_labels
from reid_audit.score.comparison import Comparison, Samples
from reid_audit.score.linkage import FEWEST, chance_of_member
from reid_audit.score.patients import Pool, pool
from reid_audit.score.similarity import Local, MatchSpace, Space, cosines, distinct, in_blocks, resized

PERCENTILE = 1.0
"""A sample is likely when its energy lies below this percentile of the negative control's."""
SHOWN = 32
"""Likely samples compared with films, lowest energy first."""
NEGLIGIBLE = 1e-12
"""Chance below which nobody further away is looked at."""
PAIRS = 256
"""Pairs whose SSIM is taken at once."""


@dataclass(frozen=True, slots=True, eq=False)
class LikelyOutcome:
    """Likely samples. ``measurements`` may be published; the rest is restricted."""

    measurements: tuple[Measurement, ...]
    indices: NDArray[np.int64]
    """[L] rows of the reconstructions, lowest energy first."""
    films: NDArray[np.int64]
    """[L] column of each one's nearest film; empty without films."""


def likely_indices(images: Tensor, energies: Tensor, control_energies: Tensor) -> NDArray[np.int64]:
    """Distinct reconstructions below the 1st percentile of the negative control's energies, lowest energy first."""
    if control_energies.numel() == 0:
        return np.zeros(0, dtype=np.int64)
    limit = float(np.percentile(control_energies.detach().double().cpu().numpy(), PERCENTILE))
    values = energies.detach().double().cpu()
    ordered = torch.argsort(values, stable=True)
    ordered = ordered[values[ordered] < limit]
    return np.asarray(ordered[distinct(images[ordered])].numpy(), dtype=np.int64)


def screening_samples(
    space: MatchSpace, made: Samples, control: Samples, reference: Stack | None = None
) -> LikelyOutcome:
    """Without both cohorts: indicators only (every optimiser lowers its own objective, and somebody is always nearest).

    How many likely samples there are; and, where training films [N, C, H, W] are given, how alike they are to their
    nearest one on average, beside the same of untuned samples, as the study compares them.
    ``made`` by the attack on the target; ``control`` without the weights.
    """
    images = made.images
    indices = likely_indices(images, made.energies, control.energies)
    count = Measured(
        metric=Metric.LIKELY_SAMPLES,
        value=indices.size,
        control=PERCENTILE / 100 * images.shape[0],
        n=int(images.shape[0]),
        indicator=True,
    )
    if reference is None or indices.size == 0:
        reason = Reason.NO_REFERENCE if reference is None else Reason.NONE_LIKELY
        missing = tuple(Unmeasured(metric=m, reason=reason) for m in LIKELY[1:])
        return LikelyOutcome((count, *missing), indices, np.zeros(0, dtype=np.int64))
    shown = indices[:SHOWN]
    found, columns = _alike(space, images[shown], reference)
    untuned, _ = _alike(space, control.images[: shown.size], reference)
    near = tuple(
        Measured(metric=metric, value=found[k], control=untuned[k], n=shown.size, indicator=True)
        for k, metric in enumerate(LIKELY[1:])
    )
    return LikelyOutcome((count, *near), indices, columns)


def _alike(space: MatchSpace, images: Tensor, gallery: Stack) -> tuple[tuple[float, float], NDArray[np.int64]]:
    """((mean SSIM, mean cosine) with the most similar film, its column [R]) of images [R, C, H, W]."""
    near = cosines(space, images, gallery).double().numpy()
    columns = near.argmax(axis=1)
    alike = _ssims(space, images, gallery, columns)
    return (float(alike.mean()), float(near[np.arange(columns.size), columns].mean())), columns


def likely_samples(
    comparison: Comparison,
    made: Samples,
    control: Samples,
    rng: np.random.Generator,
    *,
    permutations: int = 499,
) -> LikelyOutcome:
    """Whom the likely samples resemble: training patients, or equally many hold-out patients just as much?

    Any optimised image has lower energy than an untuned one, and somebody is always nearest. So ``likely_samples``
    counts the likely samples whose nearest pooled patient was in training, beside the number expected by chance, and
    ``nearest_ssim`` and ``nearest_nn`` are means over likely samples for the nearest of m training patients, beside
    the nearest of m hold-out patients, m = min(n_T, n_H), averaged in closed form over all subsets of the larger
    cohort. One film per patient. ``low`` and ``high`` minus ``control`` bound the excess (permutation interval,
    inverted).

    The attack on the target made ``made``; ``control`` was made without the weights.
    """
    images, films, space = made.images, comparison.images, comparison.space
    indices = likely_indices(images, made.energies, control.energies)[:SHOWN]
    similarity = comparison.near(images[indices]).double().numpy()
    people = pool(comparison.owners, _content(films), rng, most=1)
    if min(people.members, people.others) < FEWEST:
        short = Reason.TOO_FEW_REFERENCE if people.members < FEWEST else Reason.TOO_FEW_HOLDOUT
        empty = tuple(Unmeasured(metric=m, reason=short) for m in LIKELY)
        return LikelyOutcome(empty, indices, np.zeros(0, dtype=np.int64))
    if indices.size == 0:
        none = Measured(metric=Metric.LIKELY_SAMPLES, value=0.0, low=0.0, high=0.0, control=0.0, n=0)
        missing = tuple(Unmeasured(metric=m, reason=Reason.NONE_LIKELY) for m in LIKELY[1:])
        return LikelyOutcome((none, *missing), indices, np.zeros(0, dtype=np.int64))
    near = similarity[:, people.films]
    labels = np.vstack([people.is_member[None], *permuted_labels(people.is_member, people.strata, permutations, rng)])
    matched = list(matched_nearest(near, labels))
    alike, alike_control, cosine, cosine_control = (np.zeros(len(labels)) for _ in range(4))
    for row, (order, in_t, in_h) in enumerate(matched):
        pixels = _ssims(space, images[indices[row] : indices[row] + 1], films, people.films[order])
        alike += in_t @ pixels
        alike_control += in_h @ pixels
        cosine += in_t @ near[row, order]
        cosine_control += in_h @ near[row, order]
    count = len(matched)
    measurements = (
        _count(near, people, labels),
        _nearest(Metric.NEAREST_SSIM, alike / count, alike_control / count, count),
        _nearest(Metric.NEAREST_NN, cosine / count, cosine_control / count, count),
    )
    return LikelyOutcome(measurements, indices, people.films[near.argmax(axis=1)])


LIKELY = (Metric.LIKELY_SAMPLES, Metric.NEAREST_SSIM, Metric.NEAREST_NN)
"""The metrics ``likely_samples`` produces, in its order."""


def _content(images: Stack) -> Floats:
    """[2, N] numbers that identify films whatever they are called."""
    return in_blocks(images, lambda part: torch.stack([part.mean(dim=1), part.square().mean(dim=1)], dim=1)).T


def _ssims(space: Space, images: Tensor, gallery: Stack, rows: NDArray[np.int64]) -> Floats:
    """[K] SSIM of images [K, C, H, W], or of one image, with ``rows`` [K] of the gallery, at the side of ``space``."""
    side = max(11, space.side)
    ours, found = Local.of(resized(images, side)), []
    for part in torch.split(torch.arange(len(rows)), PAIRS):
        films = Local.of(resized(gallery[torch.from_numpy(rows)[part]], side))
        found.append((ours if len(images) == 1 else ours[part]).ssim(films).numpy())
    return np.concatenate(found)


def _count(near: Floats, people: Pool, labels: Bools) -> Measurement:
    nearest = near.argmax(axis=1)
    counts = labels[:, nearest].sum(axis=1).astype(np.float64)
    expected = float(chance_of_member(people)[nearest].sum())
    low, high = _shifted(counts[0] - expected, counts[1:] - expected)
    return Measured(
        metric=Metric.LIKELY_SAMPLES,
        value=float(counts[0]),
        low=max(0.0, expected + low),
        high=expected + high,
        control=expected,
        n=int(nearest.size),
    )


def _nearest(metric: Metric, training: Floats, holdout: Floats, count: int) -> Measurement:
    """``training`` against ``holdout``: means over ``count`` images, [1 + B] each, the first under the true labels."""
    excess = training - holdout
    low, high = _shifted(float(excess[0]), excess[1:])
    control = float(holdout[0])
    return Measured(
        metric=metric, value=float(training[0]), low=control + low, high=control + high, control=control, n=count
    )


def matched_nearest(near: Floats, labels: Bools) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
    """Chances of being the nearest of m training patients, and of m hold-out patients, m being the smaller cohort.

    near: [R, P] similarities; labels: [B, P], equally many training patients in every row. Yields for each of the R
    rows the K nearest patients and, in that order, both chances [B, K]; whoever follows has less than ``NEGLIGIBLE``
    together under every label vector.
    """
    members = int(labels[0].sum())
    others = labels.shape[1] - members
    matched = min(members, others)
    of_t, of_h = nearest_weights(members, matched), nearest_weights(others, matched)
    enough_t, enough_h = (int(np.count_nonzero(np.cumsum(w[::-1]) > NEGLIGIBLE)) for w in (of_t, of_h))
    for row in near:
        order = np.argsort(-row, kind="stable")
        order = order[: _enough(labels, order, enough_t, enough_h)]
        ordered = labels[:, order]
        rank = np.cumsum(ordered, axis=1, dtype=np.int32)
        position = np.arange(1, order.size + 1) - rank
        yield (
            order,
            np.where(ordered, of_t[np.maximum(rank - 1, 0)], 0.0),
            np.where(ordered, 0.0, of_h[np.maximum(position - 1, 0)]),
        )


def _enough(labels: Bools, order: NDArray[np.int64], members: int, others: int) -> int:
    """How many of ``order`` [P] hold, under every one of ``labels`` [B, P], so many members and so many others."""
    count = members + others
    while count < order.size:
        among = labels[:, order[:count]].sum(axis=1)
        if among.min() >= members and (count - among).min() >= others:
            return count
        count *= 2
    return int(order.size)


def nearest_weights(n: int, m: int) -> Floats:
    """[n + 1] chance that the i-th nearest of n patients is the nearest within a random subset of m of them."""
    weights = np.zeros(n + 1)
    chance = m / n
    for i in range(n - m + 1):
        weights[i] = chance
        chance *= (n - m - i) / max(1, n - 1 - i)
    return weights


def _shifted(observed: float, null: Floats) -> tuple[float, float]:
    """95 % interval of an effect that shifts its permutation distribution."""
    low, high = np.quantile(null, (0.025, 0.975))
    return observed - float(high), observed - float(low)
