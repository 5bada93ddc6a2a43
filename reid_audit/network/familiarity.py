"""How familiar images look to a network: what its first statistics layers store, against what the images feed them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import Pace, unhurried
from reid_audit.network.batchnorm import ImageMoments, execution_order, image_moments
from reid_audit.network.blocks import blocks
from reid_audit.network.gathering import GatheredMoments

LAYERS = 3
"""Statistics layers asked: errors of the input grow in them, and what deeper ones hold is learned and not given."""
STAGE = "first statistics layers"


@dataclass(frozen=True, slots=True, eq=False)
class FirstLayers:
    """Moments of N images at the first statistics layers."""

    layers: tuple[ImageMoments, ...]

    @property
    def count(self) -> int:
        """N."""
        return len(self.layers[0].first)

    def rows(self, which: Tensor) -> FirstLayers:
        """The moments of some of the images, by index."""
        return FirstLayers(
            tuple(ImageMoments(x.stored, x.first[which], x.second[which], x.positions) for x in self.layers)
        )

    def misfit(self, other: FirstLayers | None = None) -> float:
        """Mean square deviation from the stored statistics, or from those of other images, in standard deviations.

        It is taken over the means and over half the logarithms of the variances, which are the errors of the scale.
        0.01 is an error of a tenth in either, and 0 says that these images are all that the layers ever averaged.
        """
        misfits = []
        for number, layer in enumerate(self.layers):
            mean, variance = _mean_and_variance(layer)
            goal, spread = torch.zeros_like(mean), layer.stored.variance
            if other is not None:
                goal, spread = _mean_and_variance(other.layers[number])
            shift = (mean - goal).square() / (spread + layer.stored.eps)
            scale = 0.5 * torch.log((variance + layer.stored.eps) / (spread + layer.stored.eps))
            misfits.append(float(shift.mean() + scale.square().mean()) / 2)
        return sum(misfits) / len(misfits)


def first_layers(target: Target, inputs: Tensor, *, count: int = LAYERS, pace: Pace | None = None) -> FirstLayers:
    """Moments of inputs [N, C, H, W] at the first ``count`` statistics layers.

    Raises ValueError without any, OutOfTime where the pace ends first.
    """
    gathered = GatheredMoments(len(inputs))
    order = execution_order(target.module, inputs[:1])
    if not order:
        raise ValueError("the network stores no statistics")
    last = order[:count][-1]
    with torch.no_grad():
        for few in blocks(inputs, inputs.device):
            (pace or unhurried()).check(STAGE)
            gathered.add(image_moments(target.module, few, last=last))
    return FirstLayers(tuple(gathered.found()))


def _mean_and_variance(layer: ImageMoments) -> tuple[Tensor, Tensor]:
    """[C] mean (less the stored one) and variance over images and positions."""
    mean = layer.first.mean(0)
    return mean, (layer.second.mean(0) - mean.square()).clamp_min(0.0)
