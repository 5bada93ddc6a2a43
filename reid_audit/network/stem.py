"""What a network does to an image before its first statistics layer, as long as that is affine: convolutions, padding.

Where grey values u become network input a_c u_c + b_c in channel c, the input of the first BatchNorm layer is

    y = sum_c a_c F_c(u_c) + sum_c b_c F_c(1) + F(0),

so that its mean over images and positions is linear in (a, b) and its mean square quadratic, and both are known for
every (a, b) after one pass over the images (zero padding included, since F_c(1) is a map and not a number).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_audit.arch.target import Target
from reid_audit.budget import Pace, unhurried
from reid_audit.network.batchnorm import execution_order, statistics_layers
from reid_audit.network.patches import is_plain, response_moments

Floats = NDArray[np.float64]
STAGE = "stem"
MAPS = 2**21
"""Numbers of feature maps held at a time: few enough that memory is used again instead of asked for anew."""
AFFINE = 1e-3
"""Relative deviation from additivity up to which a stem counts as affine (float32 convolutions)."""


class _Reached(Exception):
    """Raised at the first statistics layer: nothing behind it matters."""


@dataclass(frozen=True, slots=True, eq=False)
class Stem:
    """Moments of the first statistics layer's input as functions of the values (a, b), averaged over images."""

    linear: Floats
    """[K, D] mean over images and positions of the D = 2 C + 1 features F_c(u_c), F_c(1), F(0), in K channels."""
    quadratic: Floats
    """[K, D, D] the same of their products."""
    mean: Floats
    """[K] running mean of the layer."""
    variance: Floats
    """[K] running variance."""
    eps: float

    def deviations(self, values: Floats) -> Floats:
        """[2 K] deviations from the stored statistics for values (a_1 .. a_C, b_1 .. b_C), in standard deviations.

        Those of the means come first, then half the logarithms of the variances' ratios, which are errors of the scale.
        """
        known = np.append(values, 1.0)
        mean = self.linear @ known
        variance = np.maximum(np.einsum("kde,d,e->k", self.quadratic, known, known) - mean**2, 0.0)
        shift = (mean - self.mean) / np.sqrt(self.variance + self.eps)
        scale = 0.5 * np.log((variance + self.eps) / (self.variance + self.eps))
        return np.concatenate([shift, scale])

    def misfit(self, values: Floats) -> float:
        """Mean square of ``deviations``."""
        return float(np.mean(self.deviations(values) ** 2))


@dataclass(frozen=True, slots=True, eq=False)
class Stems:
    """Moments of the first statistics layer's input as functions of the values, for each of N images."""

    linear: Floats
    """[N, K, D]"""
    quadratic: Floats
    """[N, K, D, D]"""
    mean: Floats
    variance: Floats
    eps: float

    def averaged(self, weights: Floats | None = None) -> Stem:
        """The stem averaged over all images, or with weights [N] that sum to 1."""
        shares = np.full(len(self.linear), 1.0 / len(self.linear)) if weights is None else weights
        linear, quadratic = (np.tensordot(shares, part, axes=1) for part in (self.linear, self.quadratic))
        return Stem(linear, quadratic, self.mean, self.variance, self.eps)

    def halves(self) -> tuple[Stem, Stem]:
        """The stems of the images at even places, and of those at odd places."""
        even = (np.arange(len(self.linear)) % 2 == 0).astype(np.float64)
        return self.averaged(even / even.sum()), self.averaged((1 - even) / (1 - even).sum())


def read_stems(target: Target, images: Tensor, pace: Pace | None = None) -> Stems | None:
    """Stems of images [N, 1 or C, H, W] in [0, 1]; None where no layer stores statistics or the stem is not affine.

    Layers whose input is not a map of positions, or that come after a non-linearity, have no stem of this kind.
    Raises OutOfTime where the pace ends first.
    """
    module = target.module
    device = next(module.parameters()).device
    layer = _first(target, images[:1].to(device))
    if layer is None or layer.running_mean is None or layer.running_var is None:
        return None
    basis = _Basis(module, layer, target.match.channels, images.shape[-2:], device)
    convolution = basis.convolution()
    if convolution is not None:
        linear, quadratic = (each.numpy() for each in response_moments(convolution, images, pace or unhurried(), STAGE))
    elif basis.is_affine():
        linear, quadratic = basis.moments(images, pace or unhurried())
    else:
        return None
    mean, variance = (stored.double().cpu().numpy() for stored in (layer.running_mean, layer.running_var))
    return Stems(linear, quadratic, mean, variance, layer.eps)


def _first(target: Target, image: Tensor) -> _BatchNorm | None:
    layers = dict(statistics_layers(target.module))
    if not layers:
        return None
    probe = image.new_zeros(1, target.match.channels, *image.shape[-2:])
    order = execution_order(target.module, probe)
    return layers[order[0]] if order else None


class _Basis:
    """The features of an affine stem, computed by running it."""

    def __init__(
        self, module: nn.Module, layer: _BatchNorm, channels: int, size: torch.Size, device: torch.device
    ) -> None:
        self.module, self.layer, self.channels, self.size, self.device = module, layer, channels, size, device
        self.zero = self._reach(torch.zeros(1, channels, *size, device=device))

    def convolution(self) -> nn.Conv2d | None:
        """The one that the layer follows at once and that meets the input as it is, where there is such a one."""
        inputs = torch.zeros(1, self.channels, *self.size, device=self.device)
        met: list[tuple[nn.Conv2d, Tensor]] = []

        def note(layer: nn.Conv2d, args: tuple[Tensor, ...], output: Tensor) -> None:
            if args[0] is inputs:
                met.append((layer, output))

        handles = [each.register_forward_hook(note) for each in self.module.modules() if is_plain(each)]
        try:
            arrived = self._reach(inputs)
        finally:
            for handle in handles:
                handle.remove()
        return next((layer for layer, output in met if output is arrived), None)

    def is_affine(self) -> bool:
        """Whether responses add up, on two images of noise."""
        if self.zero.dim() not in (4, 5):  # a map of positions in an image, or in a volume
            return False
        generator = torch.Generator().manual_seed(0)
        one, two = torch.randn(2, 1, self.channels, *self.size, generator=generator).to(self.device)
        apart = self._reach(one) + self._reach(two) - self.zero
        return bool((self._reach(one + two) - apart).norm() <= AFFINE * (apart - self.zero).norm())

    def moments(self, images: Tensor, pace: Pace) -> tuple[Floats, Floats]:
        """The features' means [N, K, D] and those of their products [N, K, D, D], of images [N, 1 or C, H, W]."""
        lone = [self._alone(torch.ones(1, 1, *self.size, device=self.device), c) for c in range(self.channels)]
        fixed = torch.stack([*lone, self.zero], dim=2).flatten(3)[0]
        part = max(1, MAPS // (self.channels * fixed.shape[0] * fixed.shape[2]))
        linear: list[Tensor] = []
        quadratic: list[Tensor] = []
        for few in torch.split(images, part):
            pace.check(STAGE)
            moved = few.to(self.device)
            maps = [self._alone(moved[:, c : c + 1] if moved.shape[1] > 1 else moved, c) for c in range(self.channels)]
            means, products = _products(torch.stack([each.transpose(0, 1) for each in maps], dim=2).flatten(3), fixed)
            linear.append(means.cpu())
            quadratic.append(products.cpu())
        return torch.cat(linear).double().numpy(), torch.cat(quadratic).double().numpy()

    def _alone(self, plane: Tensor, channel: int) -> Tensor:
        """[N, K, h, w] response to planes [N, 1, H, W] in one channel, without the response to nothing."""
        given = plane.new_zeros(len(plane), self.channels, *self.size)
        given[:, channel : channel + 1] = plane
        return self._reach(given) - self.zero

    def _reach(self, inputs: Tensor) -> Tensor:
        """What arrives at the layer."""
        arrived: list[Tensor] = []

        def stop(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            arrived.append(args[0])
            raise _Reached

        handle = self.layer.register_forward_pre_hook(stop)
        try:
            with torch.no_grad():
                self.module(inputs)
        except _Reached:
            pass
        finally:
            handle.remove()
        return arrived[0]


def _products(maps: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
    """Means [N, K, D] of the features and of their products [N, K, D, D] over positions: of ``maps`` [K, N, C, P], and
    of ``fixed`` ones [K, C + 1, P], which are the same in every image."""
    count, positions = maps.shape[1], maps.shape[3]
    own = maps @ maps.transpose(-1, -2)
    mixed = (maps.flatten(1, 2) @ fixed.transpose(-1, -2)).view(len(fixed), count, -1, fixed.shape[1])
    alike = (fixed @ fixed.transpose(-1, -2))[:, None].expand(-1, count, -1, -1)
    whole = torch.cat([torch.cat([own, mixed], -1), torch.cat([mixed.transpose(-1, -2), alike], -1)], -2)
    means = torch.cat([maps.mean(-1), fixed.mean(-1)[:, None].expand(-1, count, -1)], -1)
    return means.transpose(0, 1), whole.transpose(0, 1) / positions
