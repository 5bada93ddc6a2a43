"""What BatchNorm layers remember, and the same statistics of any images (Ioffe & Szegedy 2015; Yin et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

PreHook = Callable[[nn.Module, tuple[Tensor, ...]], None]


@dataclass(frozen=True, slots=True, eq=False)
class StoredStatistics:
    """Running statistics of one layer: mean [C], unbiased variance [C], and the layer's eps."""

    name: str
    mean: Tensor
    variance: Tensor
    eps: float


@dataclass(frozen=True, slots=True, eq=False)
class ImageMoments:
    """First and second moments of every image at one layer's input, centred on the stored mean.

    Centring keeps ``E[x^2] - E[x]^2`` exact in fp32 where the mean is large beside the spread.
    """

    stored: StoredStatistics
    first: Tensor
    """[N, C] mean over positions of x - stored mean."""
    second: Tensor
    """[N, C] mean over positions of (x - stored mean)^2."""
    positions: int
    """H * W of the layer's input."""


def statistics_layers(module: nn.Module) -> list[tuple[str, _BatchNorm]]:
    """BatchNorm layers that carry running statistics, in registration order."""
    return [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
    ]


class _Complete(Exception):
    """Raised inside the last layer's hook: nothing behind it matters."""


@contextmanager
def _hooked(layers: list[tuple[str, _BatchNorm]], sink: list[ImageMoments], last: str | None) -> Iterator[None]:
    handles: list[RemovableHandle] = []
    for name, layer in layers:
        handles.append(layer.register_forward_pre_hook(_collector(name, layer, sink, stop=name == last)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _collector(name: str, layer: _BatchNorm, sink: list[ImageMoments], stop: bool) -> PreHook:
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise ValueError(f"{name} stores no statistics")
    stored = StoredStatistics(name, mean, variance, layer.eps)

    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        centred = args[0].flatten(2) if args[0].dim() > 2 else args[0].unsqueeze(-1)
        centred = centred - mean.view(1, -1, 1)
        sink.append(ImageMoments(stored, centred.mean(-1), centred.square().mean(-1), centred.shape[-1]))
        if stop:
            raise _Complete

    return hook


def image_moments(module: nn.Module, inputs: Tensor, *, last: str | None = None) -> list[ImageMoments]:
    """Moments of every image at every BatchNorm input, in execution order. Differentiable in ``inputs``.

    inputs: [N, C, H, W] as the network sees them. ``last`` names the layer after which the forward pass stops.
    """
    sink: list[ImageMoments] = []
    with _hooked(statistics_layers(module), sink, last), suppress(_Complete):
        module(inputs)
    return sink


def execution_order(module: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the statistics layers in the order a forward pass reaches them."""
    with torch.no_grad():
        return [moments.stored.name for moments in image_moments(module, inputs)]


def batched_moments(module: nn.Module, inputs: Tensor, *, batch: int = 64) -> list[ImageMoments]:
    """``image_moments`` without gradients for any number of images, ``batch`` at a time."""
    with torch.no_grad():
        parts = [image_moments(module, chunk) for chunk in torch.split(inputs, batch)]
    return [
        ImageMoments(
            layer[0].stored,
            torch.cat([part.first for part in layer]),
            torch.cat([part.second for part in layer]),
            layer[0].positions,
        )
        for layer in zip(*parts, strict=True)
    ]
