"""A network of the same architecture with the weights of nobody, or with those of a public base."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

EMBEDDED = 0.02
"""Deviation of tokens and position embeddings at the start (Dosovitskiy et al., ICLR 2021)."""
SCALED = 0.1
"""Start of scales that a layer's output is multiplied with: so small that a deep network begins near the identity."""


def fresh(module: nn.Module, base: nn.Module | None = None) -> nn.Module:
    """A copy of ``module`` that has forgotten its weights; those ``base`` has under the same name and shape are its.

    Every layer that knows how begins anew (``reset_parameters``), statistics included. Other parameters are tokens and
    embeddings, which begin as small noise, or scales and shifts of single channels, which begin near nothing. Random
    numbers come from torch's global generator.
    """
    made = copy.deepcopy(module)
    for layer in made.modules():
        reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
        if callable(reset):
            reset()
        else:
            _begin(layer)
    if base is not None:
        _taken_over(made, base)
    return made


def _begin(layer: nn.Module) -> None:
    """Parameters that belong to the layer itself, where it has no way to begin anew."""
    with torch.no_grad():
        for name, value in layer.named_parameters(recurse=False):
            if value.dim() > 1:
                value.copy_(EMBEDDED * torch.randn_like(value))
            elif "bias" in name:
                value.zero_()
            else:
                value.fill_(1.0 if name == "weight" else SCALED)


def _taken_over(made: nn.Module, base: nn.Module) -> None:
    theirs: dict[str, Tensor] = base.state_dict()
    ours = made.state_dict()
    shared = {name: value for name, value in theirs.items() if name in ours and ours[name].shape == value.shape}
    made.load_state_dict(shared, strict=False)
