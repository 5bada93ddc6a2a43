"""A path, or a side, -> a prior."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.errors import PriorError
from reid_audit.prior.gaussian import load_gaussian
from reid_audit.prior.interface import Prior
from reid_audit.prior.pggan import load_pggan
from reid_audit.prior.storage import read_prior_file
from reid_audit.records import PriorCard

SHIPPED = {"gaussian": "gaussian-64.safetensors"}
"""Packaged priors in ``reid_audit/prior/data``, all made from the public NIH ChestX-ray14."""


def load_prior(path: Path) -> Prior:
    """The prior in a safetensors file. Raises PriorError with what was closest for any other file."""
    file = read_prior_file(path)
    if file.metadata.get("kind") == "gaussian":
        return load_gaussian(file)
    if file.metadata.get("kind") == "pggan":
        return load_pggan(file)
    names = sorted(file.tensors)
    raise PriorError(
        f"{path.name} is not a prior of a known layout",
        closest=f"{len(names)} tensors, the first {', '.join(names[:3]) or '(none)'}",
        remedy="make one with 'reid-audit prior fit' or 'reid-audit prior train'",
    )


def shipped_prior(side: int, kind: Literal["gaussian"] = "gaussian") -> Prior:
    """The packaged prior of ``kind``, resampled to ``side``."""
    return prior_at(load_prior(Path(__file__).parent / "data" / SHIPPED[kind]), side)


def prior_at(prior: Prior, side: int) -> Prior:
    """``prior`` drawing images of ``side`` pixels: itself, or a differentiable resampling of it."""
    return prior if prior.card.side == side else ResampledPrior(prior, side)


@dataclass(frozen=True, slots=True, eq=False)
class ResampledPrior:
    """A prior of one side seen at another. Latents and card stay those of ``inner``."""

    inner: Prior
    side: int

    @property
    def card(self) -> PriorCard:
        """The card of the prior as it was made, at its own side."""
        return self.inner.card

    @property
    def latent_dim(self) -> int:
        """D of the inner prior."""
        return self.inner.latent_dim

    def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
        """[n, D] draws from the latent prior."""
        return self.inner.sample_latents(n, generator)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, D] -> images [N, C, side, side]."""
        return resample(self.inner.decode(latents), self.side)

    def to(self, device: torch.device) -> ResampledPrior:
        """The same prior with its tensors on ``device``."""
        return ResampledPrior(self.inner.to(device), self.side)


def resample(images: Tensor, side: int) -> Tensor:
    """[N, C, S, S] -> [N, C, side, side]: area averages downwards, bilinear upwards. Differentiable."""
    if side < images.shape[-1]:
        return F.adaptive_avg_pool2d(images, side)
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
