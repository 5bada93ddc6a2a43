"""Freeze and hash reconstructions, before any training or hold-out image is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from reid_audit.attack.interface import Reconstruction
from reid_audit.records import Spend


def untried(shape: Sequence[int], spend: Spend) -> Reconstruction:
    """A reconstruction without any image of ``shape`` [C, H, W], for where there was no time for an attack, or nothing
    to attack."""
    nothing = torch.zeros(0)
    return freeze(torch.zeros(0, *shape), nothing, nothing.to(torch.int64), trajectory=(), spend=spend)


def freeze(
    images: Tensor,
    energies: Tensor,
    hypotheses: Tensor,
    *,
    trajectory: Sequence[tuple[int, float]],
    spend: Spend,
    tuned_samples: Tensor | None = None,
) -> Reconstruction:
    """Clamp images [N, C, H, W] to [0, 1], move everything to the CPU, and hash.

    ``trajectory`` holds the energy of the batch by step; without a step it began and ended at 0.
    """
    frozen = images.detach().float().clamp(0.0, 1.0).cpu().contiguous()
    stride = max(1, len(trajectory) // 200 + (len(trajectory) % 200 > 0))
    return Reconstruction(
        images=frozen,
        energies=energies.detach().float().cpu(),
        hypotheses=hypotheses.cpu(),
        tuned_samples=None if tuned_samples is None else tuned_samples.detach().float().clamp(0.0, 1.0).cpu(),
        energy_start=trajectory[0][1] if trajectory else 0.0,
        energy_end=trajectory[-1][1] if trajectory else 0.0,
        trajectory=tuple(trajectory[::stride]),
        spend=spend,
        digest=hashlib.sha256(frozen.numpy().tobytes()).hexdigest(),
    )
