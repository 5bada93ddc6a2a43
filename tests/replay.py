"""A prior that repeats its training films, and the films: what tests of memorisation must find."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.records import PriorCard


def films(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(n, 1, 6, 6, generator=generator), size=(24, 24), mode="bicubic").clamp(0, 1)


TRAINING, HELD_OUT = films(80, 0), films(80, 1)


@dataclass
class Replay:
    """A prior whose samples are its training films under noise."""

    card = PriorCard(id="replay", kind="pggan", sha256="0" * 64, side=24)
    latent_dim = 2
    noise: float = 0.01

    def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    def decode(self, latents: Tensor) -> Tensor:
        chosen = TRAINING[(latents[:, 0].abs() * 1e4).long() % len(TRAINING)]
        return chosen + self.noise * torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0))

    def to(self, device: torch.device) -> Replay:
        return self
