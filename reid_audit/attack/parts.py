"""Images that pass a network a few at a time, for a likelihood that is still that of all of them together.

What the network keeps for the gradient is what fills a memory. Here every part is passed once for its values and, when
its gradient is asked for, once more (checkpointing: Chen et al. 2016), so that no more than one part is kept at a time.
Values and gradients are those of one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Found = TypeVar("Found")


def in_parts(work: Callable[..., Found], most: int | None, *batches: Tensor) -> list[Found]:
    """What ``work`` finds of the rows of ``batches``, ``most`` of them at a time; of all at once where it is None."""
    if most is None or most >= len(batches[0]):
        return [work(*batches)]
    return [
        checkpoint(work, *few, use_reentrant=False, preserve_rng_state=False)
        for few in zip(*(torch.split(batch, most) for batch in batches), strict=True)
    ]


def half(most: int | None, count: int) -> int | None:
    """Half as many of ``count`` images at a time as before; None where that is less than one."""
    return min(most or count, count) // 2 or None
