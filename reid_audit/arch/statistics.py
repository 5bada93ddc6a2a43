"""How much a state_dict stores of its training data in running statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

MEAN, VARIANCE = "running_mean", "running_var"


@dataclass(frozen=True, slots=True)
class Statistics:
    """Values of running means and variances."""

    updated: int
    """Of layers that a training step has updated."""
    untouched: int
    """Of layers that are as they were made: means 0, variances 1. They say nothing of any image."""


def statistics_in(state: Mapping[str, Tensor]) -> Statistics:
    """Count the running statistics of ``state``; those without values (meta tensors) count as updated."""
    updated = untouched = 0
    for key, mean in state.items():
        if not key.endswith(MEAN):
            continue
        variance = state.get(key.removesuffix(MEAN) + VARIANCE)
        if variance is not None and not mean.is_meta and not mean.any() and bool((variance == 1).all()):
            untouched += 2 * mean.numel()
        else:
            updated += 2 * mean.numel()
    return Statistics(updated, untouched)
