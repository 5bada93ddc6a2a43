"""A prior of one side, seen at another. Everything stays differentiable."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.imaging.dct import dct
from reid_audit.prior.gaussian import STD_FLOOR, GaussianPrior
from reid_audit.prior.interface import Prior
from reid_audit.records import PriorCard


def prior_at(prior: Prior, side: int) -> Prior:
    """``prior`` drawing images of ``side`` pixels. A Gaussian stays full-rank, others have their images resampled."""
    if prior.card.side == side:
        return prior
    return resized_gaussian(prior, side) if isinstance(prior, GaussianPrior) else ResampledPrior(prior, side)


def resized_gaussian(prior: GaussianPrior, side: int) -> GaussianPrior:
    """The Gaussian at ``side``: mean and components resampled, the residual's DCT spectrum cut or continued.

    Upwards the frequencies nobody has measured follow the power law of the upper half of those that were, so that the
    prior stays full-rank; they are a guess, and a prior fitted at this side is better.
    """
    channels, old = prior.mean.shape[0], prior.mean.shape[-1]
    ratio, keep = side / old, min(side, old)  # an orthonormal coefficient grows with the side
    mean = resample(prior.mean.unsqueeze(0), side)[0]
    factor = resample(prior.factor.view(-1, channels, old, old), side).flatten(1)
    std = torch.full_like(mean, STD_FLOOR)
    if prior.dct_std is not None:
        std[:, :keep, :keep] = prior.dct_std[:, :keep, :keep] * ratio
    if side > old:
        beyond = torch.ones(side, side, dtype=torch.bool, device=std.device)
        beyond[:old, :old] = False
        std[:, beyond] = (_continued_spectrum(prior, side) * ratio)[beyond].clamp_min(STD_FLOOR)
    card = prior.card.model_copy(update={"side": side})
    return replace(prior, card=card, mean=mean, factor=factor, dct_std=std)


def _continued_spectrum(prior: GaussianPrior, side: int) -> Tensor:
    """[side, side] standard deviation by radial frequency: a line in log-log through the upper half of the old ones."""
    old = prior.mean.shape[-1]
    rows = dct(prior.factor.view(-1, *prior.mean.shape)).square().sum(0).mean(0)
    total = rows if prior.dct_std is None else rows + prior.dct_std.square().mean(0)
    radius = _radius(old).to(total)
    upper = (radius > old / 2) & (radius < old)
    x, y = radius[upper].log(), 0.5 * total[upper].log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    far = _radius(side).to(total).clamp_min(1).log()
    return (y.mean() + slope * (far - x.mean())).exp()


def _radius(side: int) -> Tensor:
    axis = torch.arange(side, dtype=torch.float32)
    return (axis.unsqueeze(1).square() + axis.square()).sqrt()


@dataclass(frozen=True, slots=True, eq=False)
class ResampledPrior:
    """A prior of one side seen at another. Latents and card stay those of ``inner``."""

    inner: Prior
    side: int

    @property
    def card(self) -> PriorCard:
        """The card of the prior as it was made, with the side it is seen at."""
        return self.inner.card.model_copy(update={"side": self.side})

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
