"""The statistics that BatchNorm layers store, and the same of given images (Ioffe, Szegedy 2015; Yin et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

_looked_at: WeakKeyDictionary[nn.Module, tuple[object, bool]] = WeakKeyDictionary()
INHERITED = "statistics_of_the_base"
"""Attribute of a layer whose statistics came with the public weights; deep copies keep it."""
PreHook = Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]


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
    """BatchNorm layers that carry running statistics of training images, in registration order.

    Statistics that no training step has updated (means 0, variances 1) say nothing: such a layer is not among them.
    """
    return [(name, layer) for name, layer in _batchnorm_layers(module) if not never_updated(layer)]


def untouched_layers(module: nn.Module) -> list[tuple[str, _BatchNorm]]:
    """BatchNorm layers whose running statistics no training step has updated, in registration order."""
    return [(name, layer) for name, layer in _batchnorm_layers(module) if never_updated(layer)]


def never_updated(layer: _BatchNorm) -> bool:
    """Whether the running statistics are those that a layer is made with (all means 0, all variances 1), or those of
    the public weights that training started from (``mark_inherited``).

    Asked before every forward pass, it looks at the values once, until they change. A training step changes them
    without a trace, but for the layer's count of steps.
    """
    if getattr(layer, INHERITED, False):
        return True
    mean, variance, count = layer.running_mean, layer.running_var, layer.num_batches_tracked
    if mean is None or variance is None:
        return False
    state = None if count is None else tuple((id(t), t._version) for t in (mean, variance, count))
    known = _looked_at.get(layer)
    if known is None or state is None or known[0] != state:
        known = _looked_at[layer] = (state, not bool(mean.any()) and bool((variance == 1).all()))
    return known[1]


def mark_inherited(module: nn.Module, base: nn.Module) -> int:
    """Mark the layers of ``module`` whose statistics are those of the layer of the same name in ``base``, bit for bit.

    No training film went into them: from now on, and in copies, they count as never updated. Returns how many values
    (means and variances) the newly marked layers hold.
    """
    theirs = dict(_batchnorm_layers(base))
    count = 0
    for name, layer in statistics_layers(module):
        if name in theirs and _same_statistics(layer, theirs[name]):
            setattr(layer, INHERITED, True)
            count += 2 * layer.num_features
    return count


def _same_statistics(one: _BatchNorm, other: _BatchNorm) -> bool:
    pairs = ((one.running_mean, other.running_mean), (one.running_var, other.running_var))
    return all(a is not None and b is not None and torch.equal(a.cpu(), b.cpu()) for a, b in pairs)


def _batchnorm_layers(module: nn.Module) -> list[tuple[str, _BatchNorm]]:
    return [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
    ]


def execution_order(module: nn.Module, inputs: Tensor) -> tuple[str, ...]:
    """Names of the statistics layers in the order in which inputs [N, C, H, W] meet them, each once."""
    order: dict[str, None] = {}

    def note(name: str, _: _BatchNorm, x: Tensor) -> Tensor:
        order.setdefault(name)
        return x

    with torch.no_grad(), _hooked(module, note):
        module(inputs)
    return tuple(order)


class _Complete(Exception):
    """Raised inside the last layer's hook: nothing behind it matters."""


@contextmanager
def _hooked(module: nn.Module, hook: Callable[[str, _BatchNorm, Tensor], Tensor]) -> Iterator[None]:
    """Let ``hook`` see, and replace, the input of every statistics layer."""
    handles: list[RemovableHandle] = []
    for name, layer in statistics_layers(module):
        handles.append(layer.register_forward_pre_hook(_pre_hook(name, hook)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pre_hook(name: str, hook: Callable[[str, _BatchNorm, Tensor], Tensor]) -> PreHook:
    def run(layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (hook(name, layer, args[0]),)  # type: ignore[arg-type]

    return run


def image_moments(
    module: nn.Module, inputs: Tensor, *, last: str | None = None, batches: Tensor | None = None
) -> list[ImageMoments]:
    """Moments of every image at every BatchNorm input, in execution order. Differentiable in ``inputs``.

    inputs: [N, C, H, W] as the network sees them. ``last`` names the layer after which the forward pass stops.
    batches [N]: size of the training batch each image is thought to come from. In training a layer divides by the
    *biased* deviation of its batch but stores the unbiased variance, so an evaluation pass is too small by
    sqrt((B - 1) / B) with B = batch * H * W, layer upon layer; where ``batches`` is given this is undone.
    """
    return moments_and_output(module, inputs, last=last, batches=batches)[0]


def moments_and_output(
    module: nn.Module, inputs: Tensor, *, last: str | None = None, batches: Tensor | None = None
) -> tuple[list[ImageMoments], Any]:
    """``image_moments``, and what the network answers in the same pass (None where ``last`` ended it)."""
    sink: list[ImageMoments] = []

    def collect(name: str, layer: _BatchNorm, x: Tensor) -> Tensor:
        if layer.running_mean is None or layer.running_var is None:
            raise ValueError(f"{name} stores no statistics")
        stored = StoredStatistics(name, layer.running_mean, layer.running_var, layer.eps)
        shape = (1, -1, *[1] * (x.dim() - 2))
        centred = x - stored.mean.view(shape)
        flat = centred.flatten(2) if x.dim() > 2 else centred.unsqueeze(-1)
        sink.append(ImageMoments(stored, flat.mean(-1), flat.square().mean(-1), flat.shape[-1]))
        if name == last:
            raise _Complete
        if batches is None:
            return x
        values = (batches.to(x) * flat.shape[-1]).clamp_min(2.0)
        biased = stored.variance * ((values - 1.0) / values)[:, None]
        factor = ((stored.variance + stored.eps) / (biased + stored.eps)).sqrt()
        return torch.addcmul(stored.mean.view(shape), centred, factor.view(*factor.shape, *shape[2:]))

    output = None
    with _hooked(module, collect), suppress(_Complete):
        output = module(inputs)
    return sink, output
