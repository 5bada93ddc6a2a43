"""How well images explain what a network's parameters remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.attack.batchnorm import ImageMoments, execution_order, image_moments
from reid_audit.attack.schedules import noise_floors


class Objective(Protocol):
    """A negative log-likelihood of what the parameters remember, up to a constant."""

    def energy(self, inputs: Tensor) -> Tensor:
        """[G] energy of each group of images; inputs [N, C, H, W] as the network sees them. Differentiable."""

    def image_energy(self, inputs: Tensor) -> Tensor:
        """[N] energy of single images (lower: more plausible under the parameters), without gradients."""


@dataclass(frozen=True, slots=True, eq=False)
class StatisticsObjective:
    """BatchNorm networks: the stored running statistics."""

    module: nn.Module
    weights: Tensor
    """[G, N] rows that average within each group."""
    batches: Tensor
    """[N] size of the group each image belongs to: the training batch it is thought to come from."""
    floors: tuple[float, ...]
    last: str
    """Layer after which the forward pass stops."""

    def energy(self, inputs: Tensor) -> Tensor:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        layers = image_moments(self.module, inputs, last=self.last, batches=self.batches)
        return moment_energy(layers, self.weights, self.floors)

    def image_energy(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([image_energy(image_moments(self.module, part)) for part in torch.split(inputs, 64)])


@dataclass(frozen=True, slots=True, eq=False)
class HeadObjective:
    """Networks without data statistics: stationarity of the weight-decayed head and class-mean directions."""

    module: nn.Module
    head: nn.Linear
    weights: Tensor
    """[G, N] rows that average within each group."""
    labels: Tensor
    """[N] int64 class each particle stands for."""
    precision: float = 1e3

    def energy(self, inputs: Tensor) -> Tensor:
        features, logits = features_and_logits(self.module, inputs, self.head)
        terms = []
        for row in self.weights:
            mine = row > 0
            h, z, y = features[mine], logits[mine], self.labels[mine]
            terms.append(head_stationarity(h, z, y, self.head) + class_mean_alignment(h, y, self.head))
        return self.precision * torch.stack(terms)

    def image_energy(self, inputs: Tensor) -> Tensor:
        """1 - cosine between an image's residual-weighted features and the classifier row of its own class."""
        with torch.no_grad():
            parts = [features_and_logits(self.module, part, self.head) for part in torch.split(inputs, 64)]
        features, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        rows = self.head.weight - self.head.weight.mean(0)
        centred = features - features.mean(0)
        return 1.0 - functional.cosine_similarity(centred, rows[logits.argmax(1)], dim=1)


def objective_for(target: Target, groups: Tensor, probe: Tensor, *, skipped: int = 0) -> Objective | None:
    """The likelihood this network offers; None where its parameters say nothing about images.

    groups [N] int64 counts from 0; probe [1, C, H, W] finds the order of the layers; ``skipped`` leaves out the last
    statistics layers.
    """
    weights = group_weights(groups).to(probe)
    order = execution_order(target.module, probe)
    if order:
        used = order[: max(1, len(order) - skipped)]
        batches = torch.bincount(groups)[groups].to(probe)
        module = target.module.to(memory_format=torch.channels_last)
        return StatisticsObjective(module, weights, batches, tuple(noise_floors(len(used))), used[-1])
    head = final_linear(target.module)
    if head is None or head.out_features < 2 or target.match.head == "features":
        return None
    labels = torch.arange(len(groups), device=probe.device) % head.out_features
    return HeadObjective(target.module, head, weights, labels)


def group_weights(groups: Tensor) -> Tensor:
    """[G, N] rows that average within each group; groups [N] int64 counts from 0."""
    onehot = functional.one_hot(groups).T.float()
    return onehot / onehot.sum(1, keepdim=True)


def moment_energy(layers: Sequence[ImageMoments], weights: Tensor, floors: Sequence[float]) -> Tensor:
    """Negative log-likelihood of stored BatchNorm statistics given groups of images.

    ``weights`` [G, N]: row g holds the share of each image in group g (rows sum to 1). Per layer with C channels
    0.5 C [mean_c r_mu^2 / f + mean_c r_s^2 / f] with r_mu = (m - mu) / sqrt(s2 + eps) and
    r_s = log((v + eps) / (s2 + eps)), v the unbiased variance N/(N-1) over the group's positions.
    Returns [G].
    """
    sizes = 1.0 / weights.square().sum(1, keepdim=True)
    energy = weights.new_zeros(weights.shape[0])
    for layer, floor in zip(layers, floors, strict=True):
        mean = weights @ layer.first
        count = sizes * layer.positions
        variance = (weights @ layer.second - mean.square()).clamp_min(0.0) * (count / (count - 1.0).clamp_min(1.0))
        scale = layer.stored.variance + layer.stored.eps
        r_mean = mean / scale.sqrt()
        r_log = torch.log((variance + layer.stored.eps) / scale)
        energy = energy + (0.5 / floor) * (r_mean.square() + r_log.square()).sum(1)
    return energy


def image_energy(layers: Sequence[ImageMoments]) -> Tensor:
    """Typicality of single images under the stored statistics: mean standardised squared deviation, [N].

    Two-sided: an image at the mean of every layer scores 0, and so does nobody; it ranks how plausible an image
    is for the network, not who is a member (per-image distance is wrong-signed for that).
    """
    deviations = [
        (layer.first.square() / (layer.stored.variance + layer.stored.eps)).mean(1)
        + torch.log((layer.second + layer.stored.eps) / (layer.stored.variance + layer.stored.eps)).square().mean(1)
        for layer in layers
    ]
    return torch.stack(deviations).mean(0)


def final_linear(module: nn.Module) -> nn.Linear | None:
    """The classifier: the last Linear layer whose output is the network's; None for headless networks."""
    linears = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return linears[-1] if linears else None


def features_and_logits(module: nn.Module, inputs: Tensor, head: nn.Linear) -> tuple[Tensor, Tensor]:
    """Penultimate features [N, D] (the head's input) and logits [N, K]."""
    seen: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        logits = module(inputs)
    finally:
        handle.remove()
    return seen[-1].flatten(1), logits_of(logits)


def logits_of(output: object) -> Tensor:
    """[N, K] logits from whatever a network returns: a tensor, the first of a tuple, or a dict's first value.

    Dense outputs [N, K, H, W] are averaged over positions.
    """
    if isinstance(output, dict):
        output = next(iter(output.values()))
    if isinstance(output, (tuple, list)):
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(f"a network output of type {type(output).__name__} has no logits")
    return output.flatten(2).mean(-1) if output.dim() > 2 else output.reshape(len(output), -1)


def head_stationarity(features: Tensor, logits: Tensor, labels: Tensor, head: nn.Linear) -> Tensor:
    """1 - cos(W, sum_i (y_i - p_i) h_i^T): at a weight-decayed optimum the head is its own gradient (KKT).

    features [N, D], logits [N, K], labels [N] int64. Returns a scalar in [0, 2].
    """
    residual = functional.one_hot(labels, logits.shape[1]).to(logits) - logits.softmax(1)
    direction = residual.T @ features
    centred = head.weight - head.weight.mean(0, keepdim=True)
    return 1.0 - functional.cosine_similarity(direction.flatten(), centred.flatten(), dim=0)


def class_mean_alignment(features: Tensor, labels: Tensor, head: nn.Linear) -> Tensor:
    """Mean over classes of 1 - cos(class mean of features - overall mean, classifier row - mean row); scalar."""
    centre = features.mean(0)
    rows = head.weight - head.weight.mean(0)
    terms = [
        1.0 - functional.cosine_similarity(features[labels == k].mean(0) - centre, rows[k], dim=0)
        for k in torch.unique(labels)
    ]
    return torch.stack(terms).mean()
