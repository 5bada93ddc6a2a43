"""How well images explain what a network's parameters remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.attack.metric import LayerMetric, isotropic, trusted
from reid_audit.attack.parts import half, in_parts
from reid_audit.attack.schedules import noise_floors
from reid_audit.network.batchnorm import ImageMoments, image_moments
from reid_audit.network.heads import (
    HeadKind,
    HeadLayer,
    class_mean_alignment,
    classifier,
    features_and_logits,
    head_stationarity,
    labels_of,
    meaning,
    rows,
)


class Objective(Protocol):
    """A negative log-likelihood of the values stored in the parameters given images, up to a constant."""

    def energy(self, inputs: Tensor) -> Tensor:
        """[G] energy of each group of images; inputs [N, C, H, W] as the network sees them. Differentiable."""

    def image_energy(self, inputs: Tensor) -> Tensor:
        """[N] energy of single images (lower: more plausible under the parameters), without gradients."""

    def halved(self) -> Objective | None:
        """The same energy from half as many images at a time, in less memory; None where no less is possible."""


@dataclass(frozen=True, slots=True, eq=False)
class StatisticsObjective:
    """For networks with BatchNorm: how well images explain the running statistics that it stores."""

    module: nn.Module
    weights: Tensor
    """[G, N] rows that average within each group."""
    batches: Tensor
    """[N] size of the group each image belongs to: the training batch it is thought to come from."""
    metrics: tuple[LayerMetric, ...]
    """In execution order: how the layers' residuals are measured."""
    last: str
    """Layer after which the forward pass stops."""
    most: int | None = None
    """Images that pass the network at a time; None: all."""

    def energy(self, inputs: Tensor) -> Tensor:
        """[G] energy of the statistics of each group of images under those that the layers store."""
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        parts = in_parts(self._moments, self.most, inputs, self.batches)
        return moment_energy([joined(layers) for layers in zip(*parts, strict=True)], self.weights, self.metrics)

    def _moments(self, inputs: Tensor, batches: Tensor) -> list[ImageMoments]:
        return image_moments(self.module, inputs, last=self.last, batches=batches)

    def halved(self) -> StatisticsObjective | None:
        """The same energy from half as many images at a time; None below one."""
        most = half(self.most, len(self.batches))
        return None if most is None else replace(self, most=most)

    def image_energy(self, inputs: Tensor) -> Tensor:
        """[N] how typical each image is for the stored statistics; lower is more typical."""
        with torch.no_grad():
            return torch.cat([image_energy(image_moments(self.module, part)) for part in torch.split(inputs, 64)])


@dataclass(frozen=True, slots=True, eq=False)
class HeadObjective:
    """For networks without stored statistics: how well images explain the classifier.

    A weight-decayed classifier is stationary (its gradient over the training images is itself), and its rows point to
    the means of the classes' features.
    """

    module: nn.Module
    head: HeadLayer
    kind: HeadKind
    groups: tuple[Tensor, ...]
    """For each group the places of its images, int64."""
    labels: Tensor
    """[N] int64 label each particle stands for (heads.py); of no meaning for a regression."""
    precision: float = 1e3
    most: int | None = None
    """Images that pass the network at a time; None: all."""

    def energy(self, inputs: Tensor) -> Tensor:
        """[G] how far each group of images is from holding the last layer where it is."""
        parts = in_parts(self._answers, self.most, inputs)
        features, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        terms = []
        for mine in self.groups:
            h, z, y = features[mine], logits[mine], self.labels[mine]
            term = head_stationarity(self.kind, h, z, y, self.head)
            if self.kind != "regression":
                term = term + class_mean_alignment(self.kind, h, y, self.head)
            terms.append(term)
        return self.precision * torch.stack(terms)

    def _answers(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return features_and_logits(self.module, inputs, self.head)

    def halved(self) -> HeadObjective | None:
        """The same energy from half as many images at a time; None below one."""
        most = half(self.most, len(self.labels))
        return None if most is None else replace(self, most=most)

    def image_energy(self, inputs: Tensor) -> Tensor:
        """[N] one minus the cosine of an image's centred features with the row of its strongest output.

        Where several answers may be yes, the output may be strong in either sense.
        """
        with torch.no_grad():
            parts = [self._answers(part) for part in torch.split(inputs, 64)]
        features, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        strongest = logits.argmax(1) if self.kind == "softmax" else logits.abs().argmax(1)
        cosine = functional.cosine_similarity(features - features.mean(0), rows(self.kind, self.head)[strongest], dim=1)
        return 1.0 - (cosine if self.kind == "softmax" else cosine.abs())


def objective_for(
    target: Target,
    groups: Tensor,
    probe: Tensor,
    *,
    metrics: Sequence[LayerMetric] | None = None,
) -> Objective | None:
    """The likelihood this network offers; None where its parameters say nothing about images.

    groups [N] int64 counts from 0; probe [1, C, H, W] is any image as the network sees it. ``metrics``, one for each
    statistics layer in execution order, replace the plain distance.
    """
    weights = group_weights(groups).to(probe)
    with torch.no_grad():
        layers = image_moments(target.module, probe)
    if layers:
        measured = isotropic(noise_floors(len(layers)), layers) if metrics is None else trusted(metrics)
        batches = torch.bincount(groups)[groups].to(probe)
        return StatisticsObjective(target.module, weights, batches, tuple(measured), layers[-1].stored.name)
    head = classifier(target)
    if head is None:
        return None
    kind, width = meaning(target.match.head, len(head.weight)), len(head.weight)
    labels = torch.arange(len(groups), device=probe.device) % max(1, labels_of(kind, width))
    places = tuple(torch.nonzero(row).flatten() for row in weights)
    return HeadObjective(target.module, head, kind, places, labels)


def group_weights(groups: Tensor) -> Tensor:
    """[G, N] rows that average over the images of each group; ``groups`` [N] int64 numbers them from 0."""
    onehot = functional.one_hot(groups).T.float()
    return onehot / onehot.sum(1, keepdim=True)


def effective_sizes(weights: Tensor) -> Tensor:
    """[G] how many equally weighted images average as sharply as rows of ``weights`` [G, N]: 1 / sum w^2."""
    return 1.0 / weights.square().sum(1)


def moment_energy(layers: Sequence[ImageMoments], weights: Tensor, metrics: Sequence[LayerMetric]) -> Tensor:
    """[G] negative log-likelihood of the stored BatchNorm statistics given groups of images.

    Row g of ``weights`` [G, N] holds the share of each image in group g, and sums to 1. The energy is half the squared
    length of the residuals in each layer's metric, summed over layers.
    """
    energy, sizes = weights.new_zeros(weights.shape[0]), effective_sizes(weights)
    for layer, metric in zip(layers, metrics, strict=True):
        energy = energy + 0.5 * metric.squared(residuals(layer, weights), sizes)
    return energy


def joined(parts: Sequence[ImageMoments]) -> ImageMoments:
    """Moments of the images of all ``parts`` at one layer, in order."""
    if len(parts) == 1:
        return parts[0]
    first, second = torch.cat([part.first for part in parts]), torch.cat([part.second for part in parts])
    return replace(parts[0], first=first, second=second)


def residuals(layer: ImageMoments, weights: Tensor) -> Tensor:
    """[G, 2 C] deviations of the groups' statistics from the stored ones at one layer, C of means and C of variances.

    That of a mean is (m - mu) / sqrt(s2 + eps), that of a variance log((v + eps) / (s2 + eps)), where the layer stores
    mu and s2. m is the mean and v the unbiased variance over all positions of the group's images.
    """
    mean = weights @ layer.first
    count = effective_sizes(weights)[:, None] * layer.positions
    variance = (weights @ layer.second - mean.square()).clamp_min(0.0) * (count / (count - 1.0).clamp_min(1.0))
    scale = layer.stored.variance + layer.stored.eps
    return torch.cat([mean / scale.sqrt(), torch.log((variance + layer.stored.eps) / scale)], dim=1)


def image_energy(layers: Sequence[ImageMoments]) -> Tensor:
    """[N] mean squared deviation, in standard deviations, of each image's statistics from the stored ones.

    It says how typical an image is for the network; lower is more typical. It does not say who is a member: the lowest
    energy of all has the image at the mean of every layer, which is nobody's.
    """
    deviations = [
        (layer.first.square() / (layer.stored.variance + layer.stored.eps)).mean(1)
        + torch.log((layer.second + layer.stored.eps) / (layer.stored.variance + layer.stored.eps)).square().mean(1)
        for layer in layers
    ]
    return torch.stack(deviations).mean(0)
