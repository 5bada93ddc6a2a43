"""How much of real images samples reach, and how many of the samples are near real ones."""

from __future__ import annotations

import torch
from torch import Tensor


def precision_recall(real: Tensor, drawn: Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Share of drawn inside the k-NN balls of the real, and of real inside those of the drawn (Kynkaanniemi 2019)."""

    def covered(points: Tensor, centres: Tensor) -> float:
        radii = torch.cdist(centres, centres).kthvalue(neighbours + 1, dim=1).values
        return float((torch.cdist(points, centres) <= radii).any(1).double().mean())

    return covered(drawn, real), covered(real, drawn)
