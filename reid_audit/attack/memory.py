"""What the weights say of given films: the raw score families behind exposure, larger is more member-like."""

from __future__ import annotations

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.attack.batchnorm import ImageMoments, batched_moments, statistics_layers
from reid_audit.attack.objectives import logits_of

BATCH = 64


def film_moments(target: Target, inputs: Tensor) -> list[ImageMoments]:
    """Moments of every film at every statistics layer; empty for networks without BatchNorm."""
    return batched_moments(target.module, inputs, batch=BATCH) if statistics_layers(target.module) else []


def margins(target: Target, inputs: Tensor) -> Tensor:
    """[N] certainty of the network about each film: best minus second-best logit, or |logit| for one output.

    Label-free membership score (Salem et al. 2019): training films are decided more firmly.
    """
    with torch.no_grad():
        logits = torch.cat([logits_of(target.module(part)) for part in torch.split(inputs, BATCH)])
    if logits.shape[1] == 1:
        return logits[:, 0].abs()
    best = logits.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]
