"""Moments of what a convolution makes of films, from the moments of the films' patches.

The response of output k to channel c at a position is w_kc . x with x the values under the kernel there, nought
outside the film. Means over positions of responses are therefore linear in the mean patch, and those of their products
are quadratic forms of the patches' second moments, E[(w . x)(v . z)] = w^T E[x z^T] v. Those are as small as the
kernel, and of a grey film the same in every channel, so that no map of the K outputs has to be computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.budget import Pace

PATCHES = 2**21
"""Numbers of patches held at a time: few enough that memory is used again instead of asked for anew."""


def is_plain(layer: nn.Module) -> bool:
    """Whether ``layer`` is a two-dimensional convolution of all channels with zeros around them, and nothing derived
    from one, which may pad the input or change the kernels as it runs."""
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def response_moments(layer: nn.Conv2d, images: Tensor, pace: Pace, stage: str) -> tuple[Tensor, Tensor]:
    """Means [N, K, D] over positions of the D = 2 C + 1 features of each of K outputs, and of their products
    [N, K, D, D], in float64 on the CPU.

    images: [N, 1 or C, H, W], one plane for all channels or one for each. The features are the responses to each
    channel, those to ones in each channel, and that to nothing. Raises OutOfTime where the pace ends first.
    """
    ones = _patches(layer, torch.ones_like(images[:1, :1], device=layer.weight.device))[0]
    part = max(1, PATCHES // (images.shape[1] * ones.numel()))
    found: list[tuple[Tensor, Tensor]] = []
    for few in torch.split(images, part):
        pace.check(stage)
        found.append(_moments(layer, _patches(layer, few.to(ones)), ones))
    return torch.cat([means for means, _ in found]), torch.cat([products for _, products in found])


def _patches(layer: nn.Conv2d, planes: Tensor) -> Tensor:
    """[N, C T, L] the T values under the kernel at L positions of planes [N, C, H, W]."""
    return functional.unfold(planes, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]


def _moments(layer: nn.Conv2d, patches: Tensor, ones: Tensor) -> tuple[Tensor, Tensor]:
    """``response_moments`` of patches [N, C T, L], beside those of ones [T, L]."""
    kernels = layer.weight.detach().flatten(2).double().cpu()
    outputs, channels, places = kernels.shape
    count, positions = len(patches), ones.shape[1]

    def over_positions(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.transpose(-1, -2) / positions).double().cpu()

    planes = patches.shape[1] // places
    mean = patches.mean(-1).double().cpu().view(count, planes, places).expand(-1, channels, -1)
    own = over_positions(patches, patches).view(count, planes, places, planes, places)
    own = own.expand(-1, channels, -1, channels, -1)
    mixed = over_positions(patches, ones).view(count, planes, places, places).expand(-1, channels, -1, -1)
    of_ones = torch.einsum("kct,tu,kdu->kcd", kernels, over_positions(ones, ones), kernels)
    responses = torch.einsum("kct,nct->nkc", kernels, mean)
    to_ones = torch.einsum("kct,t->kc", kernels, ones.mean(-1).double().cpu())
    nothing = kernels.new_zeros(outputs) if layer.bias is None else layer.bias.detach().double().cpu()
    means = torch.cat([responses, _each(to_ones, count), _each(nothing[:, None], count)], -1)
    products = means[..., :, None] * means[..., None, :]
    products[..., :channels, :channels] = torch.einsum(
        "nkcdu,kdu->nkcd", torch.einsum("kct,nctdu->nkcdu", kernels, own), kernels
    )
    across = torch.einsum("nkcu,kdu->nkcd", torch.einsum("kct,nctu->nkcu", kernels, mixed), kernels)
    products[..., :channels, channels:-1] = across
    products[..., channels:-1, :channels] = across.transpose(-1, -2)
    products[..., channels:-1, channels:-1] = of_ones
    return means, products


def _each(value: Tensor, count: int) -> Tensor:
    """``value`` for each of ``count`` images."""
    return value.expand(count, *value.shape)
