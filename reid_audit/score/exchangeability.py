"""Are training and hold-out films of one kind? If not, any difference between them may pass for a leak."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.cohort.findings import marks_of
from reid_audit.imaging.stack import Stack
from reid_audit.network.answers import findings_of
from reid_audit.records import METRICS, Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.alone import Images
from reid_audit.score.calibration import Bools, Floats, least_p, permuted_labels
from reid_audit.score.comparison import Comparison
from reid_audit.score.patients import drawn_from_each, pool
from reid_audit.score.similarity import in_blocks

FEWEST = METRICS[Metric.EXCHANGEABILITY_P].fewest[0]
CLASSES = 32
"""Labels from which on numbers are compared as such: 1 and 1.0 are two classes to a network's audit."""
MOST = 4096
"""Patients whose films are compared in pairs: a difference that so many do not show is small."""


def exchangeability(comparison: Comparison, rng: np.random.Generator, *, permutations: int = 1999) -> Measurement:
    """Two-sample test of training against hold-out patients on features that know nothing of the target.

    One film per patient, and at most ``MOST`` patients, drawn from each cohort by chance: the distances between all
    pairs are held. Three statistics, combined by the exact smaller-p permutation test: the energy distance (Szekely
    and Rizzo 2004) of the match-space scores, which sees shape and position, of four grey-level summaries (mean,
    spread, border, detail), which sees another device or export, and of the training labels, which sees another share
    of the ill or another way to write them. Who is a member is permuted over all strata: the rates at 1 % false
    positives compare every training patient with every hold-out patient.
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
    one = np.zeros(rows.size, dtype=np.int64)
    members = np.vstack([is_member[None], *permuted_labels(is_member, one, permutations, rng)])
    seen = (shapes, greys, answers_named(comparison.labels[shown]))
    p = least_p(np.stack([energy_statistics(each, members) for each in seen if each.shape[1]]))
    return Measured(metric=Metric.EXCHANGEABILITY_P, value=p, n=rows.size)


def answers_named(words: NDArray[np.str_]) -> Floats:
    """[P, F] what labels say: 0 or 1 for each finding that is named, or for each mark of a column; of numbers, which
    are many, how far they are from their mean in their spread. No column where all labels are the same."""
    known, places = np.unique(words, return_inverse=True)
    if known.size < 2:
        return np.zeros((words.size, 0))
    if known.size > CLASSES and (numbers := _numbers(words)) is not None:
        return np.asarray((numbers - numbers.mean()) / numbers.std())[:, None]
    named = [_named(word) for word in known.tolist()]
    every = sorted(frozenset().union(*named))
    return np.array([[float(name in each) for name in every] for each in named])[places.reshape(-1)]


def _numbers(words: NDArray[np.str_]) -> Floats | None:
    try:
        numbers = words.astype(np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() and np.ptp(numbers) > 0 else None


def _named(word: str) -> frozenset[str]:
    marks = marks_of((word,))
    if marks:
        return frozenset(f"{place}{mark}" for place, mark in enumerate(marks[0]))
    return findings_of(word) or frozenset(("",))


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
