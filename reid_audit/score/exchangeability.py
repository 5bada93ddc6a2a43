"""Are training and hold-out films of one kind? If not, any difference between them may pass for a leak."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reid_audit.imaging.stack import Stack
from reid_audit.records import METRICS, Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.alone import Images
from reid_audit.score.calibration import Bools, Floats, least_p, permuted_labels
from reid_audit.score.comparison import Comparison
from reid_audit.score.patients import drawn_from_each, pool
from reid_audit.score.similarity import in_blocks

FEWEST = METRICS[Metric.EXCHANGEABILITY_P].fewest[0]
MOST = 4096
"""Patients whose films are compared in pairs: a difference that so many do not show is small."""


def exchangeability(comparison: Comparison, rng: np.random.Generator, *, permutations: int = 1999) -> Measurement:
    """Two-sample test of training against hold-out patients on features that know nothing of the target.

    One film per patient, and at most ``MOST`` patients, drawn from each cohort by chance: the distances between all
    pairs are held. Two statistics, combined by the exact smaller-p permutation test: the energy distance (Szekely
    and Rizzo 2004) of the match-space scores, which sees shape and position, and of four grey-level summaries (mean,
    spread, border, detail), which sees another device or export. Labels are permuted within strata.
    """
    films, space = comparison.images, comparison.space
    summaries = _grey_levels(films)
    people = pool(comparison.owners, summaries.T, rng, most=1)
    if min(people.members, people.others) < FEWEST:
        short = Reason.TOO_FEW_REFERENCE if people.members < FEWEST else Reason.TOO_FEW_HOLDOUT
        return Unmeasured(metric=Metric.EXCHANGEABILITY_P, reason=short)
    rows = drawn_from_each(people.is_member, MOST, rng)
    is_member, shown = people.is_member[rows], people.films[rows]
    shapes = space.scores(films[torch.from_numpy(shown)]).double().numpy()
    greys = summaries[shown]
    greys = (greys - greys.mean(axis=0)) / np.maximum(greys.std(axis=0), 1e-9)
    labels = np.vstack([is_member[None], *permuted_labels(is_member, people.strata[rows], permutations, rng)])
    p = least_p(np.stack([energy_statistics(shapes, labels), energy_statistics(greys, labels)]))
    return Measured(metric=Metric.EXCHANGEABILITY_P, value=p, n=rows.size)


def energy_statistics(rows: Floats, labels: Bools) -> Floats:
    """[B] energy distance between rows [P, D] with label True and with label False, for each label vector [B, P]."""
    squares = np.sum(rows**2, axis=1)
    distances, products = np.add.outer(squares, squares), rows @ rows.T
    products *= 2
    distances -= products
    np.sqrt(np.maximum(distances, 0.0, out=distances), out=distances)  # in place: a matrix of all pairs is large
    first = labels.astype(np.float64)
    n = first.sum(axis=1)
    m = rows.shape[0] - n
    towards = first @ distances
    within = np.sum(towards * first, axis=1)
    across = towards.sum(axis=1) - within
    rest = distances.sum() - within - 2 * across
    return np.asarray(2 * across / (n * m) - within / n**2 - rest / m**2)


def _grey_levels(images: Stack) -> Floats:
    """[N, 4] mean, standard deviation, mean of the border, mean absolute step between neighbours."""
    shape = images.shape[1:]

    def summary(flat: Tensor) -> Tensor:
        x = flat.view(-1, *shape)
        border = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], dim=-1).flatten(1).mean(dim=1)
        steps = (x[..., 1:, :] - x[..., :-1, :]).abs().flatten(1).mean(dim=1)
        return torch.stack([flat.mean(dim=1), flat.std(dim=1), border, steps], dim=1)

    return in_blocks(images, summary)


def in_audit(comparison: Comparison, images: Images, rng: np.random.Generator) -> Measurement:
    """``exchangeability`` as an audit asks it: of the films alone, whatever ``images`` there are."""
    return exchangeability(comparison, rng)
