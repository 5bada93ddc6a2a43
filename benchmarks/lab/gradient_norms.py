"""How far each film moves each layer: norms of the gradients of its log odds, without writing the gradients out.

    |dphi/dW_l|^2 = sum_{p, q} (g_p . g_q) (a_p . a_q)

a_p feeds layer l at position p, g_p is the gradient at what comes out there. Nasr, Shokri and Houmansadr (S&P 2019) ask
for these norms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_audit.network.answers import log_odds
from reid_audit.network.answers import outputs_of as answers_of
from reid_audit.network.heads import HeadKind
from reid_audit.network.layers import inputs_of, outputs_of, watched

LEAST = 1e-30
"""Added to squared norms, so that they have a logarithm."""


def gradient_norms(
    module: nn.Module, kind: HeadKind, layers: tuple[str, ...], inputs: Tensor, wanted: Tensor
) -> Tensor:
    """[N, L] log of the norm of each named layer's gradient, for network input [N, C, H, W] and its taught answers.

    The network is in evaluation mode, so that no image plays a role for another.
    """
    calls: dict[str, tuple[nn.Module, Tensor, Tensor]] = {}

    def keep(name: str, layer: nn.Module, given: Tensor, made: Tensor) -> None:
        calls[name] = (layer, given, made)

    inputs = inputs.detach().requires_grad_(True)
    with torch.enable_grad(), watched(module, layers, keep):
        odds = log_odds(kind, answers_of(module(inputs)), wanted)
        slopes = torch.autograd.grad(odds.sum(), [calls[name][2] for name in layers])
    squares = []
    for name, slope in zip(layers, slopes, strict=True):
        layer, given, _ = calls[name]
        fed, back = inputs_of(layer, given.detach()), outputs_of(layer, slope)
        squares.append(((fed @ fed.mT) * (back @ back.mT)).sum((1, 2)))
    return 0.5 * (torch.stack(squares, 1).clamp_min(0.0) + LEAST).log()
