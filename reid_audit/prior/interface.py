"""What an attacker knows before seeing the weights: a distribution over images of the modality."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from reid_audit.records import PriorCard


class Decoder(Protocol):
    """A differentiable map from latents to images."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, D] -> images [N, C, side, side], nominally in [0, 1] (not clamped). Differentiable."""


class Prior(Decoder, Protocol):
    """Latents z ~ N(0, I) and a differentiable map to images. ``-log p(z) = |z|^2 / 2`` up to a constant."""

    @property
    def card(self) -> PriorCard:
        """Identity, digest and declared training sets."""

    @property
    def latent_dim(self) -> int:
        """D, the number of latent values of one image."""

    def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
        """[n, D] draws from the latent prior, made on the generator's device."""

    def to(self, device: torch.device) -> Prior:
        """The same prior with its tensors on ``device``."""
