"""Margin: how firmly a classifier decides an image.

    score(x) = z_(1)(x) - z_(2)(x)        softmax: largest minus second-largest logit
    score(x) = mean_k |z_k(x)|            independent yes/no answers
    score(x) = mean_i log max_k p_ki(x)   masks, over positions i

Label-free membership inference by confidence (Salem et al., ML-Leaks, NDSS 2019): a network is more certain of the
images it was trained on.
"""

from __future__ import annotations

from torch import Tensor

from reid_audit.network.heads import HeadKind, certainty


def margins(kind: HeadKind, logits: Tensor) -> Tensor | None:
    """[N] certainty of the network about each image from logits [N, K]; None where they are numbers, not answers."""
    return certainty(kind, logits)
