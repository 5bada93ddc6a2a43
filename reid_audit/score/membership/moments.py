"""Moments: which images together explain the running statistics of BatchNorm layers.

    w = argmin  sum_l | sum_i w_i m_l(x_i) - s_l |^2,  w >= 0, sum_i w_i = 1,    score = w_i, or how far image i is
                                                                                 from entering the solution

m_l(x) are the first and second moments of one image at the input of layer l, s_l what the layer stores (Ioffe and
Szegedy 2015). Each image alone is no evidence: an average is explained by those that were averaged. That stored
statistics speak of the training images is the ground of DeepInversion (Yin et al., CVPR 2020); asking them of given
images, jointly, is this project's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.network.batchnorm import ImageMoments, batched_moments, statistics_layers
from reid_audit.score.calibration import Floats
from reid_audit.score.membership.explanation import Explanation, NormalEquations, explain

BATCHES = (8, 16, 32, 64)
"""Batch sizes tried for the unbiased-variance correction; the best explanation wins."""


def collective(target: Target, inputs: Tensor) -> Explanation:
    """Which of N images together explain the stored statistics, and how much evidence there is for each.

    The training batch size is not known: the one whose correction explains the statistics best is used.
    """
    candidates = [statistics_equations(moments_of(target, inputs, trained_with=b), b) for b in BATCHES]
    best = min(candidates, key=lambda equations: explain(equations, steps=400).residual)
    return explain(best)


def statistics_equations(layers: list[ImageMoments], batch: int) -> NormalEquations:
    """What the images' moments would have to add up to, had training used batches of ``batch``."""
    return NormalEquations.of_moments(
        [
            (
                torch.cat([layer.first, layer.second], dim=1).double().cpu().numpy(),
                stored_moments(
                    np.zeros(layer.stored.mean.numel()),
                    layer.stored.variance.double().cpu().numpy(),
                    layer.positions,
                    batch,
                ),
            )
            for layer in layers
        ]
    )


def moments_of(target: Target, inputs: Tensor, *, trained_with: int | None = None) -> list[ImageMoments]:
    """Moments of every image at every statistics layer; empty for networks without BatchNorm.

    ``trained_with``: batch size the training is thought to have used, for the correction of the forward pass.
    """
    if not statistics_layers(target.module):
        return []
    return batched_moments(target.module, inputs, trained_with=trained_with)


def stored_moments(mean: Floats, variance: Floats, positions: int, batch: int) -> Floats:
    """[2 C] first and second moment behind a BatchNorm layer's running statistics.

    PyTorch stores the unbiased variance: the second moment is variance * (N - 1) / N + mean ** 2 with
    N = batch * positions values per channel.
    """
    values = max(2, batch * positions)
    return np.concatenate([mean, variance * (values - 1) / values + mean**2])
