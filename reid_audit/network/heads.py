"""What a classifier's outputs mean: softmax classes, independent yes/no answers, or numbers.

The loss decides what a weight-decayed head has to be: its gradient is sum_i r_i h_i^T with residual r = y - softmax(z),
y - sigmoid(z) or y - z. Labels of particles are numbers, 0 to K - 1 for one of K outputs; a sigmoid head has one label
more, K, for an image on which every answer is no.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.arch.target import Target

OFFSET = 1.0
"""Distance of the mean output from zero, divided by the spread of an image's outputs, from which they are no exclusive
classes. A ResNet-18 of 14 findings has 2.3 and more, whether it knows its films by heart or was trained with care."""
HeadKind = Literal["softmax", "sigmoid", "regression", "segmentation", "features"]
HeadLayer = nn.Linear | nn.Conv2d
"""The layer that answers: linear, or a convolution of one pixel whose answers are averaged over positions."""


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


def meaning(kind: HeadKind, width: int) -> HeadKind:
    """One output answers yes or no, unless it is a number."""
    return "sigmoid" if width == 1 and kind != "regression" else kind


def independent(logits: Tensor) -> bool:
    """Whether outputs [N, K] look like yes/no answers of their own and not like exclusive classes.

    The residuals y - softmax(z) of an image add up to zero, so training moves no sum of outputs: it stays near zero
    beside their spread. Yes/no answers to findings that are mostly absent fall together. Two outputs do not tell.
    """
    return logits.shape[1] > 2 and bool(logits.mean().abs() > OFFSET * logits.std(dim=1).mean())


def labels_of(kind: HeadKind, width: int) -> int:
    """How many labels a head of ``width`` outputs tells apart; 0 where its outputs are not answers."""
    return {"softmax": width, "segmentation": width, "sigmoid": width + 1}.get(kind, 0)


def answers(labels: Tensor, width: int) -> Tensor:
    """[N, width] zeros with a one at each label [N]; all zeros for label ``width``."""
    return functional.one_hot(labels, width + 1)[:, :width].float()


def decisions(kind: HeadKind, logits: Tensor) -> Tensor:
    """[N, K] the network's own answers: the largest output alone, or every positive one."""
    if kind == "sigmoid":
        return (logits > 0).to(logits)
    return answers(logits.argmax(1), logits.shape[1]).to(logits)


def residual(kind: HeadKind, logits: Tensor, wanted: Tensor) -> Tensor:
    """[N, K] wanted answers less the network's own: how the loss of each image pulls at the outputs."""
    return wanted.to(logits) - (logits.sigmoid() if kind == "sigmoid" else logits.softmax(1))


def rows(kind: HeadKind, head: HeadLayer) -> Tensor:
    """[K, D] classifier rows; centred for softmax, where their mean is not determined by the loss."""
    weight = head.weight.flatten(1)
    return weight if kind in ("sigmoid", "regression") else weight - weight.mean(0, keepdim=True)


def summed_loss(kind: HeadKind, logits: Tensor, wanted: Tensor) -> Tensor:
    """Training loss summed over images (a scalar): cross-entropy, binary cross-entropy or half the squared error.

    logits, wanted [N, K]: answers, or numbers for a regression.
    """
    wanted = wanted.to(logits)
    if kind == "regression":
        return 0.5 * (logits - wanted).square().sum()
    if kind == "sigmoid":
        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return functional.cross_entropy(logits, wanted, reduction="sum")


def head_stationarity(kind: HeadKind, features: Tensor, logits: Tensor, labels: Tensor, head: HeadLayer) -> Tensor:
    """1 - cos(W, sum_i r_i h_i^T): at a weight-decayed optimum the head is its own gradient (KKT).

    features [N, D], logits [N, K], labels [N] int64. Returns a scalar in [0, 2].
    """
    if kind == "regression":
        return regression_stationarity(features, head)
    direction = residual(kind, logits, answers(labels, logits.shape[1])).T @ features
    return 1.0 - functional.cosine_similarity(direction.flatten(), rows(kind, head).flatten(), dim=0)


def regression_stationarity(features: Tensor, head: HeadLayer, *, ridge: float = 1e-3) -> Tensor:
    """1 - |P W| / |W| with P the projection onto the span of features [N, D]; scalar in [0, 1].

    The labels of the images are not known, so the residuals are free: the rows only have to lie in the span.
    """
    gram = features @ features.T
    gram = gram + ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    own = rows("regression", head)
    weights: Tensor = torch.linalg.solve(gram, features @ own.T)
    explained: Tensor = (own * (weights.T @ features)).sum() / own.square().sum()
    return 1.0 - explained.clamp(1e-12, 1.0).sqrt()


def class_mean_alignment(kind: HeadKind, features: Tensor, labels: Tensor, head: HeadLayer) -> Tensor:
    """Mean over the labels that occur of 1 - cos(mean of their features - overall mean, classifier row); scalar."""
    goals = rows(kind, head)
    members = (labels == torch.arange(len(goals), device=labels.device)[:, None]).to(features)
    counts = members.sum(1)
    means = members @ features / counts.clamp_min(1.0)[:, None]
    apart = 1.0 - functional.cosine_similarity(means - features.mean(0), goals, dim=1)
    there = (counts > 0).to(features)
    return (apart * there).sum() / there.sum().clamp_min(1.0)


def certainty(kind: HeadKind, logits: Tensor) -> Tensor | None:
    """[N] how firmly each image is decided: best minus second-best logit, or the mean |logit| of yes/no answers.

    None for a regression: a large number is no certainty; and for masks, of which the mean over positions says how
    large they are, and not how sure (``mask_certainty``).
    """
    if kind in ("regression", "segmentation"):
        return None
    if kind == "sigmoid" or logits.shape[1] == 1:
        return logits.abs().mean(1)
    best = logits.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def mask_certainty(outputs: Tensor) -> Tensor:
    """[N] how sure a network is of its own masks: the mean, over the positions of dense outputs [N, K, *], of the log
    probability of what it answers there."""
    sure = functional.logsigmoid(outputs.abs()) if outputs.shape[1] == 1 else outputs.log_softmax(1)
    return sure.amax(1).flatten(1).mean(1)


def classifier(target: Target) -> HeadLayer | None:
    """The layer whose outputs are the network's answers; None for features and dense outputs.

    The last linear layer; where none gives as many answers as the network, the last convolution of one pixel that does
    (SqueezeNet, BiT).
    """
    if target.match.head in ("features", "segmentation"):
        return None
    linears = [layer for layer in target.module.modules() if isinstance(layer, nn.Linear)]
    if linears and linears[-1].out_features == target.match.classes:
        return linears[-1]
    convolutions = [layer for layer in target.module.modules() if isinstance(layer, nn.Conv2d)]
    last = convolutions[-1] if convolutions else None
    if last is not None and last.weight.shape[2:] == (1, 1) and last.out_channels == target.match.classes:
        return last
    return linears[-1] if linears else None


def embedded(head: HeadLayer, given: Tensor) -> Tensor:
    """[N, D] what the head makes its answers of, from its input: over the positions of a convolution their mean.

    Where answers below zero are cut off before they are averaged (SqueezeNet) that is an approximation.
    """
    return given.flatten(2).mean(2) if isinstance(head, nn.Conv2d) else given.flatten(1)


def features_and_logits(module: nn.Module, inputs: Tensor, head: HeadLayer) -> tuple[Tensor, Tensor]:
    """Penultimate features [N, D] (the head's input) and logits [N, K]."""
    seen: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        logits = module(inputs)
    finally:
        handle.remove()
    return embedded(head, seen[-1]), logits_of(logits)
