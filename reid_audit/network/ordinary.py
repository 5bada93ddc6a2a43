"""Ordinary images as a network sees them: draws of the prior, to measure a network's behaviour on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from reid_audit.network.reading import batch_size
from reid_audit.prior.gaussian import GaussianPrior


def prior_batches(space: GaussianPrior, inputs: Callable[[Tensor], Tensor], count: int) -> Iterator[Tensor]:
    """``count`` images of the prior, [B, C, H, W] at a time; ``inputs`` makes network input of images in [0, 1].

    Always the same draw: what is measured on it belongs to the prior, not to a run.
    """
    generator = torch.Generator(device=space.mean.device).manual_seed(0)
    size = batch_size(space.mean[None])
    for begin in range(0, count, size):
        latents = space.sample_latents(min(size, count - begin), generator)
        with torch.no_grad():
            batch = inputs(space.decode(latents).clamp(0.0, 1.0))
        yield batch
