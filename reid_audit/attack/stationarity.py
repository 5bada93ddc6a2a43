"""Weight-decay stationarity below the head: at an optimum every decayed weight is its own gradient (KKT conditions).

lambda theta = -sum_i dloss_i / dtheta holds for every layer, so it can be asked of images too (Haim et al. 2022). It
needs second derivatives: one more backward pass per step, and attention without fused kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from reid_audit.network.heads import HeadKind, answers, logits_of, summed_loss


def weights_below(module: nn.Module, head: nn.Module, count: int) -> tuple[str, ...]:
    """Names of the last ``count`` weights of linear and convolutional layers before ``head``, as registered."""
    layers = [
        f"{name}.weight"
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer is not head
    ]
    return tuple(layers[len(layers) - min(count, len(layers)) :])


def layer_stationarity(
    module: nn.Module, kind: HeadKind, inputs: Tensor, labels: Tensor, names: tuple[str, ...]
) -> Tensor:
    """Mean over the named weights of 1 - cos(theta, -gradient of the summed loss); scalar in [0, 2].

    inputs [N, C, H, W], labels [N] int64. Differentiable in ``inputs``.
    """
    theta = {name: module.get_parameter(name).detach().requires_grad_(True) for name in names}
    with sdpa_kernel(SDPBackend.MATH):
        logits = logits_of(functional_call(module, theta, (inputs,)))
    loss = summed_loss(kind, logits, answers(labels, logits.shape[1]))
    gradients = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
    terms = [
        1.0 - functional.cosine_similarity(weight.detach().flatten(), -gradient.flatten(), dim=0)
        for weight, gradient in zip(theta.values(), gradients, strict=True)
    ]
    return torch.stack(terms).mean()
