"""Cohorts and reconstructions of one draw, as scores compare them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.score.comparison import Comparison
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import MatchSpace


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Pooled films of both cohorts, and whose they are."""

    images: Tensor
    """[N, C, H, W] in [0, 1]."""
    patients: NDArray[np.str_]
    """[N] ids."""
    is_member: NDArray[np.bool_]
    """[N] True for training films."""

    @property
    def owners(self) -> Owners:
        return Owners(self.patients, self.is_member)

    def beside(self, space: MatchSpace) -> Comparison:
        """What reconstructions are compared with, in ``space``."""
        return Comparison.unlabelled(self.images, self.owners, space)


class Drawn(NamedTuple):
    """Reconstructions [R, C, H, W] and their energies [R]."""

    images: Tensor
    energies: Tensor
