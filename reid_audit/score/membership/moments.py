"""Moments: which images together explain the running statistics of BatchNorm layers.

    w = argmin  sum_l | sum_i w_i m_l(x_i) - s_l |^2,  w >= 0, sum_i w_i = 1,    score = w_i, or how far image i is
                                                                                 from entering the solution

m_l(x) are the first and second moments of one image at the input of layer l, s_l what the layer stores (Ioffe and
Szegedy 2015). Each image alone is no evidence: an average is explained by those that were averaged. That stored
statistics speak of the training images is the ground of DeepInversion (Yin et al., CVPR 2020); asking them of given
images, jointly, is this project's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from reid_audit.budget import Pace
from reid_audit.network.batchnorm import ImageMoments
from reid_audit.network.explanation import Explanation, explain, statistics_equations

BATCHES = (8, 16, 32, 64)
"""Batch sizes tried for the unbiased-variance correction; the best explanation wins."""
ROUGH = 400
"""Steps of a solution that batch sizes are compared by, and that counts where time ends before a better one."""
STRAIGHT = 16
"""Positions in the smallest layer from which the correction's effect on moments is linear in 1 / batch: the square of
what it changes, 1 / (8 * 16) at most, is left out."""
Corrected = Callable[[int], list[ImageMoments]]
"""Moments as they would be had the network been trained with batches of that size: one more pass over the images."""


def collective(plain: list[ImageMoments], corrected: Corrected | None, pace: Pace) -> Explanation:
    """Which of N images together explain the stored statistics, and how much evidence there is for each.

    ``plain``: moments of the images without a correction. The training batch size is not known: the one whose
    correction explains the statistics best is used. The moments are a smooth function of 1 / batch, known at 0 and at
    the smallest size, so the choice needs one pass; in networks with very small layers the chosen size is then passed
    itself. Without ``corrected`` only what is stored is corrected.
    """
    smallest = min(BATCHES)
    far = plain if corrected is None else corrected(smallest)
    unexplained = {}
    for size in pace.over("membership: batch sizes", BATCHES, len(BATCHES)):
        rough = statistics_equations(mixed(plain, far, smallest / size), size, rough=True, pace=pace)
        unexplained[size] = explain(rough, steps=ROUGH, pace=pace).residual
    best = min(BATCHES, key=unexplained.__getitem__)
    tiny = min(layer.positions for layer in plain) < STRAIGHT
    if corrected is None or best == smallest or not tiny:
        equations = statistics_equations(mixed(plain, far, smallest / best), best, pace=pace)
    else:
        equations = statistics_equations(corrected(best), best, pace=pace)
    return explain(equations, least=ROUGH, pace=pace)


def mixed(plain: Sequence[ImageMoments], far: Sequence[ImageMoments], share: float) -> Iterator[ImageMoments]:
    """Moments ``share`` of the way from ``plain`` (0) to ``far`` (1), a layer at a time."""
    for a, b in zip(plain, far, strict=True):
        first, second = torch.lerp(a.first, b.first, share), torch.lerp(a.second, b.second, share)
        yield ImageMoments(a.stored, first, second, a.positions)
