"""From effective weights, as another implementation applies them, to our generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_audit.prior.pggan import Generator, ScaledConv, Start

Pair = tuple[Tensor, Tensor]
"""Weight and bias."""


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """A generator's layers with every run-time scale multiplied in."""

    start: Start
    first: Pair
    """Linear [16 C, D] and [16 C], or convolution [C, D, 4, 4] and [C]."""
    convolutions: tuple[tuple[Pair, ...], ...]
    """Per level; level 0 has one, the others two."""
    to_image: tuple[Pair, ...]
    level: int
    """Level the network is used at."""
    alpha: float = 1.0
    """Weight of that level's own picture while it fades in."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One implementation: how its files are recognised and read."""

    name: str
    markers: tuple[str, ...]
    """Tensor names that only this layout has, in any of its spellings."""
    read: Callable[[dict[str, Tensor]], Layers]
    """Raises KeyError or ValueError where tensors do not fit."""


def he(weight: Tensor) -> float:
    """He's constant of a layer, sqrt(2 / fan-in), which most implementations multiply at run time."""
    return math.sqrt(2 / weight[0].numel())


def scaled(tensors: dict[str, Tensor], name: str) -> Pair:
    """Weight and bias of a layer that scales its whole output, bias included, by He's constant."""
    weight = tensors[f"{name}.weight"]
    return weight * he(weight), tensors[f"{name}.bias"] * he(weight)


def count(tensors: dict[str, Tensor], pattern: str) -> int:
    """How many of ``pattern.format(0)``, ``pattern.format(1)``, ... there are."""
    number = 0
    while pattern.format(number) in tensors:
        number += 1
    return number


def assemble(layers: Layers) -> Generator:
    """Our generator computing the same function. Raises RuntimeError where shapes do not fit each other."""
    widths = tuple(level[-1][0].shape[0] for level in layers.convolutions)
    network = Generator(layers.first[0].shape[1], widths, layers.to_image[-1][0].shape[0], layers.start)
    with torch.no_grad():
        for index, (block, pairs) in enumerate(zip(network.blocks, layers.convolutions, strict=True)):
            if index == 0:
                _first(block, layers)
            names = ("conv1",) if index == 0 else ("conv0", "conv1")
            for name, pair in zip(names, pairs, strict=True):
                _fill(block.get_submodule(name), pair)
        for target, pair in zip(network.to_image, layers.to_image, strict=True):
            _fill(target, pair)
    return network.eval().requires_grad_(False)


def _first(block: torch.nn.Module, layers: Layers) -> None:
    if layers.start == "conv":
        _fill(block.get_submodule("conv0"), layers.first)
    else:
        _copy(block.get_parameter("weight"), layers.first[0])
        _copy(block.get_parameter("bias"), layers.first[1])


def _fill(target: torch.nn.Module, pair: Pair) -> None:
    if not isinstance(target, ScaledConv):
        raise TypeError("only scaled convolutions can be filled")
    _copy(target.weight, pair[0] / target.scale)
    _copy(target.bias, pair[1])


def _copy(target: Tensor, values: Tensor) -> None:
    if target.shape != values.shape:
        raise ValueError(f"a tensor has shape {tuple(values.shape)}, {tuple(target.shape)} was due")
    target.copy_(values)
