"""In which distance the statistics of a batch are compared with the stored ones.

Statistics of one layer move together: a brighter film moves every channel. In the plain distance a few such directions
are all that an optimiser sees, and what tells patients apart hides behind them. How much each direction moves can be
measured without a training image, on images of the prior: with covariance S of one image's statistics, the residual r
of a batch of N is measured by r' (S / N)^-1/2 r. The full inverse (Mahalanobis 1936) would count every direction alike
and drowns in those that nobody can estimate; the square root, as in the space in which films are matched, lies between.
In units of what one image of the prior deviates, all layers count alike; deep ones, where errors of the layers before
add up, are then trusted less (docs/tuning.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reid_audit.attack.schedules import noise_floors
from reid_audit.budget import Pace
from reid_audit.network.batchnorm import ImageMoments, image_moments
from reid_audit.network.gathering import GatheredMoments

POWER = 0.5
"""Power of the inverse covariance: 0 is the plain distance, 1 counts all directions alike."""
RIDGE = 0.01
"""Share of the mean variance that is added to every direction."""
GROWTH, MOST = 1.1, 100.0
"""How much more noise each layer has than the one before, and the most that the last may have over the first."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerMetric:
    """Measures residuals [G, D] of one layer: D = 2 C, those of the C means and then those of the variances."""

    axes: Tensor
    """[D, K] orthonormal directions that the prior's images span."""
    gains: Tensor
    """[K] weight of the squared score along each."""
    rest: float
    """Weight of what lies outside them."""
    power: float
    """The squared length grows with the size of the batch to this power."""

    def squared(self, residuals: Tensor, batches: Tensor) -> Tensor:
        """[G] squared lengths of residuals [G, D] of batches with ``batches`` [G] images each. It is differentiable."""
        scores = residuals @ self.axes
        outside = residuals - scores @ self.axes.T
        lengths = scores.square() @ self.gains + self.rest * outside.square().sum(1)
        return batches.pow(self.power) * lengths

    def times(self, weight: float) -> LayerMetric:
        """This metric with every squared length multiplied by ``weight``."""
        return replace(self, gains=weight * self.gains, rest=weight * self.rest)


def isotropic(floors: Sequence[float], layers: Sequence[ImageMoments]) -> list[LayerMetric]:
    """The plain distance with one noise variance a layer: all directions of a layer count alike."""
    return [
        LayerMetric(layer.first.new_zeros(2 * layer.first.shape[1], 0), layer.first.new_zeros(0), 1.0 / floor, 0.0)
        for floor, layer in zip(floors, layers, strict=True)
    ]


def prior_metrics(module: nn.Module, batches: Iterable[Tensor], count: int, pace: Pace) -> list[LayerMetric]:
    """One metric a statistics layer, from batches [B, C, H, W] of ``count`` images of the prior as network input.

    Raises FloatingPointError with the name of a layer whose statistics are not finite, and OutOfTime.
    """
    gathered = GatheredMoments(count)
    with torch.no_grad():
        for batch in pace.over("statistics of the prior", batches, count, size=len):
            layers = image_moments(module, batch)
            for layer in layers:
                if not torch.isfinite(standardised(layer)).all():
                    raise FloatingPointError(layer.stored.name)
            gathered.add(layers)
        every = gathered.found()
        return [fit_metric(standardised(layer)) for layer in pace.over("metric of every layer", every, len(every))]


def trusted(metrics: Sequence[LayerMetric]) -> list[LayerMetric]:
    """``metrics``, in execution order, divided by a ramp of noise whose geometric mean is 1: deep layers count less."""
    noise = noise_floors(len(metrics), first=1.0, last=min(MOST, GROWTH ** (len(metrics) - 1)))
    middle = math.exp(math.fsum(map(math.log, noise)) / len(noise))
    return [metric.times(middle / floor) for metric, floor in zip(metrics, noise, strict=True)]


def standardised(layer: ImageMoments) -> Tensor:
    """[N, 2 C] what each of N images adds to the residuals of its batch, to first order."""
    scale = layer.stored.variance + layer.stored.eps
    return torch.cat([layer.first / scale.sqrt(), layer.second / scale], dim=1)


def fit_metric(rows: Tensor, *, power: float = POWER, ridge: float = RIDGE) -> LayerMetric:
    """The metric of statistics [M, D] of single images, scaled so that their mean squared deviation has length 1.

    It follows from the eigenvectors of their covariance, or of their Gram matrix where that is smaller.
    """
    centred = (rows - rows.mean(0)).double() / max(1, len(rows) - 1) ** 0.5
    wide = centred.shape[0] < centred.shape[1]
    values, vectors = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    kept = values > 1e-10 * values[-1].clamp_min(1e-30)
    values, vectors = values[kept], vectors[:, kept]
    axes = centred.T @ vectors / values.sqrt() if wide else vectors
    floor = ridge * float(values.sum()) / centred.shape[1] + 1e-12
    gains = (values + floor).pow(-power)
    metric = LayerMetric(axes.to(rows.dtype), gains.to(rows.dtype), floor**-power, power)
    return metric.times(1.0 / max(1e-6, float(gains @ values)))
