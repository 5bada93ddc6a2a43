"""Over references: how often each patient is recognised, from networks of which it is known who was in their training.

    success(P) = mean over pairs (i with P, j without P) of [s_i(P) > s_j(P)] + [s_i(P) = s_j(P)] / 2

s_k(P) is the mean log odds of P's films under reference k, cut off, in standard deviations over all films. The area
under the ROC curve of one patient: aggregate success near chance may hide patients who are recognised by almost every
network (Knolle et al., Nature 2026). Beside it stands what chance alone would give were all patients alike,

    s ~ N(d, 1) with the patient, N(0, 1) without,    d = sqrt 2 Phi^-1(mean success)
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from reid_audit.records import OverReferences
from reid_audit.score.calibration import Bools, Floats
from reid_audit.score.membership.neighbours import CERTAIN

FEWEST = 4
"""References below which a patient has one pair or none, and a share of pairs says nothing."""
BANDS = 5
DRAWS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Success:
    """How often each patient is recognised."""

    ids: NDArray[np.str_]
    share: Floats
    """[P] of the pairs, 0 to 1."""
    summary: OverReferences


def success(said: Floats, inside: Bools, patients: NDArray[np.str_], rng: np.random.Generator) -> Success | None:
    """From log odds said [K, N] of N films under K references, inside [K, N] who was in their training, and patients
    [N]. None where references are fewer than four, or do not divide the patients.
    """
    if len(said) < FEWEST:
        return None
    ids, first, owner = np.unique(patients, return_index=True, return_inverse=True)
    clipped = np.clip(said, -CERTAIN, CERTAIN)
    alike = (clipped - clipped.mean(1, keepdims=True)) / np.maximum(clipped.std(1, keepdims=True), 1e-9)
    owner = owner.reshape(-1)
    scores = np.stack([np.bincount(owner, row) / np.bincount(owner) for row in alike])
    known = inside[:, first]
    divided = known.any(axis=0) & ~known.all(axis=0)
    if not divided.any():
        return None
    share = _won(scores[:, divided], known[:, divided])
    draws = _alike(float(share.mean()), known[:, divided], rng)
    counts, expected = _bands(share), _bands(draws) * (share.size / draws.size)
    summary = OverReferences(
        references=len(said), counts=tuple(counts.tolist()), alike=tuple(round(float(e), 1) for e in expected)
    )
    return Success(ids[divided], share, summary)


def _won(scores: Floats, known: Bools) -> Floats:
    """[P] share of the pairs in which the reference with a patient has the larger of scores [K, P]."""
    won = np.zeros(scores.shape[1])
    for i, j in itertools.permutations(range(len(scores)), 2):
        larger = np.where(scores[i] > scores[j], 1.0, np.where(scores[i] == scores[j], 0.5, 0.0))
        won += np.where(known[i] & ~known[j], larger, 0.0)
    inside = known.sum(axis=0)
    return np.asarray(won / (inside * (len(known) - inside)))


def _alike(area: float, known: Bools, rng: np.random.Generator) -> Floats:
    """[DRAWS] shares of pairs, were every patient recognised as easily; ``known`` [K, P] says who was in what."""
    distance = float(np.sqrt(2.0) * norm.ppf(np.clip(area, 0.01, 0.99)))
    drawn = known[:, rng.integers(0, known.shape[1], DRAWS)]
    return _won(rng.standard_normal(drawn.shape) + distance * drawn, drawn)


def _bands(share: Floats) -> NDArray[np.int64]:
    """[BANDS] how many lie in each fifth, the last one closed."""
    return np.histogram(share, bins=np.linspace(0.0, 1.0, BANDS + 1))[0]
