"""What a training run of a PGGAN is made of, and its schedules over the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """What a training run is made of, beside its images, its seed and its budget."""

    widths: tuple[int, ...] = ()
    """Channels per level from 4 px upwards; empty: the compact widths of the resolution."""
    latent: int = 128
    batch: int = 16
    rate: float = 0.002
    settle: float = 0.5
    """Last share of the budget over which the rate falls by a cosine to ``final_rate`` of itself."""
    final_rate: float = 0.1
    coverage: float = 1.0
    """Weight of the energy distance to the films (prior/coverage.py) at the last level."""
    samples: int = 32
    """Images in a step of the generator; the discriminator judges the first ``batch`` of them."""
    gamma: float = 1.0
    """Weight of R1 (Mescheder et al. 2018), applied every ``penalty_every`` steps."""
    penalty_every: int = 8
    half_life: float = 5000.0
    """Images after which the averaged generator has forgotten half."""
    growth: float = 1.5
    """Each level gets this many times the budget of the level before."""
    fade: float = 0.4
    """Share of a level's budget spent fading in."""
    validation: float = 0.15
    """Share of the patients kept out for FID and KID."""
    snapshot_every: int = 200
    """Steps between snapshots."""


def schedule(fraction: float, levels: int, recipe: TrainRecipe) -> tuple[int, float]:
    """Level and alpha when ``fraction`` of the budget is spent: each level ``growth`` times as long as the last."""
    lengths = np.array([recipe.growth**level for level in range(levels)])
    ends = np.cumsum(lengths) / lengths.sum()
    level = min(int(np.searchsorted(ends, fraction, side="right")), levels - 1)
    begin = 0.0 if level == 0 else float(ends[level - 1])
    into = (fraction - begin) / (float(ends[level]) - begin)
    return level, 1.0 if level == 0 or recipe.fade <= 0 else min(1.0, into / recipe.fade)


def rate_at(fraction: float, recipe: TrainRecipe) -> float:
    """Learning rate when ``fraction`` of the budget is spent: constant, then falling by a cosine."""
    into = max(0.0, (min(1.0, fraction) - (1 - recipe.settle)) / recipe.settle) if recipe.settle > 0 else 0.0
    return recipe.rate * (recipe.final_rate + (1 - recipe.final_rate) * 0.5 * (1 + math.cos(math.pi * into)))
