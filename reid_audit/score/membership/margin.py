"""Margin: how firmly a classifier decides an image.

    score(x) = z_(1)(x) - z_(2)(x)        softmax: largest minus second-largest logit
    score(x) = mean_k |z_k(x)|            independent yes/no answers

Label-free membership inference by confidence (Salem et al., ML-Leaks, NDSS 2019): a network is more certain of the
images it was trained on.
"""

from __future__ import annotations

from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.network.heads import certainty, logits_in_parts


def margins(target: Target, inputs: Tensor) -> Tensor | None:
    """[N] certainty of the network about each image; None where its outputs are numbers, not answers.

    inputs [N, C, H, W] as the network sees them.
    """
    return certainty(target.match.head, logits_in_parts(target.module, inputs))
