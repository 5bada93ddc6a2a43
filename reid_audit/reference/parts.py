"""Which patients each reference model is trained on: dealt out by chance, blind to who was in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def parts(people: int, count: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[count, people] who is in the training part of each reference model.

    Rounds of floor(1 / share) models split one random order of the patients into disjoint parts, two halves at a share
    of 0.5: after whole rounds every patient was in exactly as many parts of that many models as any other, and which
    side a patient is on plays no role. A share above 0.5 counts as 0.5: every film needs networks that never saw it.
    """
    size = max(1, int(min(0.5, share) * people))
    per_round = max(1, people // size)
    inside = np.zeros((count, people), dtype=bool)
    for first in range(0, count, per_round):
        order = rng.permutation(people)
        for number in range(first, min(count, first + per_round)):
            begin = (number - first) * size
            rest = share >= 0.5 and number % per_round == per_round - 1
            inside[number, order[begin : people if rest else begin + size]] = True
    return inside
