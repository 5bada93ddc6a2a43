"""What a group of tensors is, by its names and shapes: a network, or something that only lies beside one."""

from __future__ import annotations

import re
from collections.abc import Mapping

Shape = tuple[int, ...]

KERNELS, MATRICES = 2, 5
"""A network has at least so many convolution kernels, or so many weight matrices.

Every network of torchvision and timm does (AlexNet has 5 kernels; the least transformer has 27 matrices), and no
projection head does (DINO's has 4 matrices).
"""
MOMENTS = re.compile(
    r"(^|\.)((neg_)?(pre|prev)_grad|(max_)?exp_(avg|inf)\w*|grad_avg|sqr_avg|square_avg|momentum_buffer|acc_delta|step_size)$"
)
"""Last parts of the names of what optimisers keep for each parameter."""
GRADIENT = re.compile(r"(^|\.)grad$")
MEMORY = re.compile(r"(^|\.)(queue|memory_bank|queue_\w*feat\w*|feature_bank|features_bank)$")
"""Features of single images that contrastive training keeps."""
AVERAGES = frozenset({"slow_buffer", "slow_param", "swa_buffer", "ema", "ax", "z", "p0", "shadow"})
"""Last parts of what optimisers keep that are weights: averages and earlier values of the parameters."""
WEIGHTS = frozenset({"weight", "bias", "running_mean", "running_var", "num_batches_tracked", "kernel", "scale"})
"""Last parts of names that no optimiser gives to what it keeps."""


def networklike(shapes: Mapping[str, Shape]) -> bool:
    """Whether floating-point tensors of these names and shapes are as many as a network has.

    Optimiser moments, gradients and memory banks, told by the last part of their names, do not count.
    """
    counted = [shape for name, shape in shapes.items() if not kept_beside(name)]
    kernels = sum(len(shape) >= 4 for shape in counted)
    return kernels >= KERNELS or sum(is_matrix(shape) for shape in counted) >= MATRICES


def is_matrix(shape: Shape) -> bool:
    """Whether a tensor of that shape maps several values to several."""
    return len(shape) >= 2 and sum(extent > 1 for extent in shape) >= 2


def kept_beside(name: str) -> bool:
    """Whether the last part of ``name`` says moment, gradient or memory bank."""
    return any(pattern.search(name) for pattern in (MOMENTS, GRADIENT, MEMORY))
