"""Which value convention was the network trained with? Asked of the first statistics layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.network.batchnorm import image_moments, statistics_layers
from reid_audit.preprocess import CONVENTIONS, to_network
from reid_audit.records import PreprocessSpec


def infer_preprocess(
    target: Target, films: Tensor, *, conventions: Sequence[PreprocessSpec] = CONVENTIONS
) -> PreprocessSpec | None:
    """The convention under which films [N, C, H, W] of the modality look most familiar to the first layers.

    Compares squared standardised deviation of means and log-variances at the first three statistics layers, for every
    convention and its inversion. None where the network stores no statistics.
    """
    layers = statistics_layers(target.module)
    if not layers:
        return None
    candidates = [spec.model_copy(update={"invert": invert}) for spec in conventions for invert in (False, True)]
    misfits = [_misfit(target, films, spec) for spec in candidates]
    return candidates[min(range(len(candidates)), key=misfits.__getitem__)]


def _misfit(target: Target, films: Tensor, spec: PreprocessSpec) -> float:
    if len(spec.mean) not in (1, target.match.channels):
        return float("inf")
    with torch.no_grad():
        moments = image_moments(target.module, to_network(films, spec, target.match.channels))[:3]
    total = 0.0
    for layer in moments:
        scale = layer.stored.variance + layer.stored.eps
        mean = layer.first.mean(0)
        variance = layer.second.mean(0) - mean.square()
        shift = (mean.square() / scale).mean()
        spread = torch.log((variance.clamp_min(0) + layer.stored.eps) / scale).square().mean()
        total += float(shift + spread)
    return total
