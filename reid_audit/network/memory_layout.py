"""How a network's kernels lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def channels_last(module: nn.Module) -> nn.Module:
    """``module`` with its 2-D kernels stored channels last, which CPUs run faster; 3-D kernels stay as they are."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module
