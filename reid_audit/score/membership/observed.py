"""What the audited network and its reference models say of the same films."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid_audit.score.calibration import Bools, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """Log odds of N films as they are, mirrored, and shifted, the mean over four directions."""

    target: Floats
    """[3, N]"""
    references: Floats
    """[K, 3, N]"""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Log odds of the taught answer of N films under the audited network and under K references."""

    target: Floats
    """[N]"""
    references: Floats
    """[K, N]"""
    inside: Bools
    """[K, N] whether a film was in the training of a reference."""
    near: Near | None = None
    """What is said of the films' neighbours, where they were asked."""

    def mean_inside(self) -> Floats:
        """[N] mean over the references that were trained on a film; NaN where none was."""
        return _mean(self.references, self.inside)

    def mean_outside(self) -> Floats:
        """[N] mean over the references that were not; NaN where all were."""
        return _mean(self.references, ~self.inside)


def _mean(values: Floats, chosen: Bools) -> Floats:
    counts = chosen.sum(axis=0)
    total = np.where(chosen, values, 0.0).sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
