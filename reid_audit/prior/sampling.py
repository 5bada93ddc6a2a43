"""Samples of a prior, and a picture of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reid_audit.prior.pggan import PgganPrior


@torch.no_grad()
def draw(prior: PgganPrior, n: int, side: int, seed: int) -> Tensor:
    """[n, C, side, side] samples in [0, 1], enlarged where the prior is still smaller."""
    latents = prior.sample_latents(n, torch.Generator().manual_seed(seed))
    images = torch.cat([prior.decode(part) for part in torch.split(latents, 64)]).clamp(0, 1)
    return F.interpolate(images, size=(side, side), mode="bilinear") if images.shape[-1] != side else images


def write_grid(images: Tensor, path: Path, *, columns: int = 8) -> None:
    """Images [N, C, S, S] in [0, 1] as one grey PNG of ``columns`` columns."""
    rows = torch.split(images[: len(images) // columns * columns].mean(1), columns)
    if rows and len(rows[0]) == columns:
        picture = torch.cat([torch.cat(list(row), dim=1) for row in rows])
        Image.fromarray((picture.numpy() * 255).round().astype(np.uint8)).save(path)
