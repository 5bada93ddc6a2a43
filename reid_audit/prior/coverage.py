"""What keeps a small generator from drawing only a few kinds of film: an energy distance to all of them.

A discriminator sees single films and, by minibatch deviation, a little of their spread; on a thousand films and hours
of one core it settles with few kinds drawn well. The distance between a batch of samples and the films in two fixed
feature spaces (whitened pixels; moduli of random filters) has no such blind spot, and no discriminator to train.
Related: generative moment matching (Li, Swersky and Zemel 2015), Cramer GAN (Bellemare et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reid_audit.imaging.features import FeatureSpace, Kind, energy_distance, fit_features

KINDS: tuple[Kind, ...] = ("pca", "random")
DIMENSIONS = 128
COMPARED = 256
"""Films drawn for each comparison."""


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """The films' features in each space, [N, K]."""

    spaces: tuple[FeatureSpace, ...]
    features: tuple[Tensor, ...]

    @classmethod
    def of(cls, images: Tensor, device: torch.device) -> Coverage:
        """Spaces fitted on ``images`` [N, C, S, S] in [0, 1]."""
        spaces = tuple(fit_features(images, kind, dimensions=DIMENSIONS) for kind in KINDS)
        return cls(tuple(s.to(device) for s in spaces), tuple(s(images).to(device) for s in spaces))

    def __call__(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Sum over the spaces of the energy distance of ``samples`` [M, C, S, S] in [0, 1] to random films."""
        rows = torch.randint(len(self.features[0]), (COMPARED,), generator=generator)
        distances = [
            energy_distance(space(samples), known[rows.to(known.device)])
            for space, known in zip(self.spaces, self.features, strict=True)
        ]
        return torch.stack(distances).sum()
