"""The orthonormal discrete cosine transform of images."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def dct(images: Tensor) -> Tensor:
    """Orthonormal two-dimensional DCT-II of the last two axes."""
    rows, columns = (_cosines(side, images.dtype, images.device) for side in images.shape[-2:])
    return rows @ images @ columns.T


def inverse_dct(frequencies: Tensor) -> Tensor:
    """Inverse of ``dct``. Two small matrix products, differentiable."""
    rows, columns = (_cosines(side, frequencies.dtype, frequencies.device) for side in frequencies.shape[-2:])
    return rows.T @ frequencies @ columns


@lru_cache(maxsize=16)
def _cosines(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    index = torch.arange(side, dtype=torch.float64)
    matrix = torch.cos(math.pi * index.unsqueeze(1) * (index + 0.5) / side) * math.sqrt(2 / side)
    matrix[0] *= math.sqrt(0.5)
    return matrix.to(device, dtype)
