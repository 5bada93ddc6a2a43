"""Differentiable augmentation: what the discriminator sees of both kinds of image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Differentiable augmentation (Zhao et al. 2020) of images in [-1, 1]: brightness, contrast, translation."""
    draws = torch.rand(len(images), 4, generator=generator).to(images.device) * 2 - 1
    bright, contrast = draws[:, 0].view(-1, 1, 1, 1) * 0.2, 1 + draws[:, 1].view(-1, 1, 1, 1) * 0.2
    mean = images.mean((1, 2, 3), keepdim=True)
    changed = (images - mean) * contrast + mean + bright
    shift = (draws[:, 2:] * images.shape[-1] / 8).round() * 2 / images.shape[-1]  # whole pixels: nothing is blurred
    theta = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(changed, grid, mode="nearest", padding_mode="reflection", align_corners=False)
