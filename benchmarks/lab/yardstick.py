"""How far a prior's samples are from films it has not seen, in one fixed feature space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.lab.data import films
from reid_audit.imaging.features import FeatureSpace, fit_features, frechet_distance, kernel_distance
from reid_audit.prior.pggan import PgganPrior
from reid_audit.prior.sampling import draw


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """One fixed feature space and the `holdout` films in it."""

    space: FeatureSpace
    held_out: Tensor
    floor: tuple[float, float]
    """FID and KID of films of the `prior` split."""

    @staticmethod
    def of(data: Path, side: int) -> Yardstick:
        """Fitted on the `prior` split at ``side``."""
        known, (others, _) = films(data, "prior", side)[0], films(data, "holdout", side)
        space = fit_features(known, "wavelet")
        held_out = space(others)
        chosen = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[: len(others)]
        return Yardstick(space, held_out, _distances(space(known[chosen]), held_out))

    def of_prior(self, prior: PgganPrior, side: int, seed: int) -> tuple[float, float]:
        """FID and KID of as many samples as there are films."""
        return _distances(self.space(draw(prior, len(self.held_out), side, seed)), self.held_out)


def _distances(first: Tensor, second: Tensor) -> tuple[float, float]:
    return frechet_distance(first, second), kernel_distance(first, second)
