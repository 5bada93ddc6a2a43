"""Images that a network computes at once where nothing has to be kept of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

PIXELS = 2**19
"""Of a channel in one block on a CPU: few enough that its feature maps lie in memory that was used before. To ask for
new memory takes a third of the time of a pass at 224 px."""
MOST = 32


def blocks(images: Tensor, device: torch.device) -> Iterator[Tensor]:
    """Images [N, C, H, W] on ``device``, block after block."""
    pixels = images.shape[-2] * images.shape[-1]
    size = MOST if device.type == "cuda" else max(1, min(MOST, PIXELS // pixels))
    for few in torch.split(images, size):
        yield few.to(device)
