"""Do attacks from different seeds agree on the same images? All that a checkpoint offers where no film is given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from torch import Tensor

from reid_audit.records import Measured
from reid_audit.score.consensus import consensus
from reid_audit.score.similarity import MatchSpace


def agreement(
    space: MatchSpace, made: Sequence[Tensor], untuned: Sequence[Tensor], rng: np.random.Generator
) -> dict[str, Any]:
    """Consensus of every pair of seeds, beside that of samples of the prior.

    made, untuned: one tensor [R, C, H, W] for each of two or more seeds. A pair is flagged where the lower end of its
    interval lies above the samples' agreement. Raises ValueError where there is no pair.
    """
    found = [
        consensus(space, (made[a], made[b]), (untuned[a], untuned[b]), rng)
        for a, b in combinations(range(min(len(made), len(untuned))), 2)
    ]
    pairs = [pair for pair in found if isinstance(pair, Measured)]
    if not pairs:
        raise ValueError("agreement needs the images of two seeds")
    low, controls = ([getattr(pair, name) or 0.0 for pair in pairs] for name in ("low", "control"))
    return {
        "pairs": len(pairs),
        "flagged": sum(end > control for end, control in zip(low, controls, strict=True)),
        "agreement": float(np.mean([pair.value for pair in pairs])),
        "least": float(min(pair.value for pair in pairs)),
        "most": float(max(pair.value for pair in pairs)),
        "samples": float(np.mean(controls)),
    }
