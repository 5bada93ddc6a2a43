"""Consistency: how little an embedding minds changes of the image that mean nothing.

    score(x) = mean_v cos(h(x), h(v(x))),    v: the mirrored image, the image with noise

h(x) is what the network makes of image x before its head. Embeddings of views of one training image lie closer to each
other than those of views of a new one (Liu, Jia, Qu and Gong, EncoderMI, CCS 2021). No label and no answer is needed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

NOISE = 0.03
"""Standard deviation of the noise, for images in [0, 1]."""
SEED = 0
View = Callable[[Tensor], Tensor]
"""From images [N, C, H, W] in [0, 1] to changed ones."""


def mirrored(images: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(-1)


def noisy(images: Tensor) -> Tensor:
    """With the same noise for every image, so that it does not matter which are asked together."""
    noise = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(SEED))
    return images + NOISE * noise.to(images)


VIEWS: tuple[View, ...] = (mirrored, noisy)


def consistency(embeddings: Tensor, views: list[Tensor]) -> Tensor:
    """[N] mean cosine between embeddings [N, D] of images and those of their views."""
    return torch.stack([functional.cosine_similarity(embeddings, view, dim=1) for view in views]).mean(0)
