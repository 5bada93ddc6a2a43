"""Small synthetic cohorts: a Gaussian prior of smooth images, people who differ, films that differ a little."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks.lab.draws import People

SIDE = 16


def smooth_images(n: int, rng: np.random.Generator, side: int = SIDE) -> Tensor:
    """[n, 1, side, side] draws from one Gaussian prior, in [0, 1]."""
    noise = ndimage.gaussian_filter(rng.standard_normal((n, 1, side, side)), (0, 0, 1.5, 1.5), mode="wrap")
    return torch.from_numpy(np.clip(0.5 + 0.9 * noise, 0, 1).astype(np.float32))


def people(
    members: int,
    others: int,
    rng: np.random.Generator,
    *,
    films: tuple[int, int] = (3, 2),
    within: float = 0.3,
    side: int = SIDE,
) -> People:
    """Patients with 1 to ``films[0]`` (training) or ``films[1]`` (hold-out) films; ``within``: a film's own share."""
    counts = np.r_[rng.integers(1, films[0] + 1, members), rng.integers(1, films[1] + 1, others)]
    owner = np.repeat(np.arange(members + others), counts)
    base = smooth_images(members + others, rng, side)[torch.from_numpy(owner)]
    own = smooth_images(owner.size, rng, side)
    return People(
        images=((1 - within) * (base - 0.5) + within * (own - 0.5) + 0.5),
        patients=np.char.add("p", owner.astype(np.str_)),
        is_member=owner < members,
    )
