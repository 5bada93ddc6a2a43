"""Linear and convolutional layers as matrices: what each position of an image feeds them, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

Seen = Callable[[str, nn.Module, Tensor, Tensor], None]
"""Told of each call: the layer's name, the layer, its input and its output."""


@contextmanager
def watched(module: nn.Module, names: tuple[str, ...], seen: Seen) -> Iterator[None]:
    """While this context lasts, ``seen`` is shown every call of the named layers of ``module``."""
    handles = []
    for name in names:

        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            seen(name, layer, args[0], output)

        handles.append(module.get_submodule(name).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def matrix_layers(module: nn.Module, probe: Tensor) -> tuple[str, ...]:
    """Names of the plain Linear and ungrouped Conv2d layers that an image passes once, as one row, in that order.

    probe [1, C, H, W]. Layers that are called again, or fed windows or positions as if they were images, are left out.
    """
    calls: list[str] = []
    rows: dict[str, int] = {}

    def note(name: str, layer: nn.Module, given: Tensor, made: Tensor) -> None:
        calls.append(name)
        rows[name] = len(given)

    plain = tuple(name for name, layer in module.named_modules() if is_matrix(layer))
    with torch.no_grad(), watched(module, plain, note):
        module(probe)
    return tuple(name for name in calls if calls.count(name) == 1 and rows[name] == 1)


def is_matrix(layer: nn.Module) -> bool:
    """Whether the layer multiplies patches of its input with its weight, and nothing else: no subclass, no groups."""
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear


def inputs_of(layer: nn.Module, given: Tensor) -> Tensor:
    """[N, P, D] what feeds the weight's D columns at each of P positions, of a layer's input."""
    if isinstance(layer, nn.Conv2d):
        patches = functional.unfold(given, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
        return patches.transpose(1, 2)
    return given.reshape(len(given), -1, given.shape[-1])


def outputs_of(layer: nn.Module, made: Tensor) -> Tensor:
    """[N, P, O] what the weight's O rows give at each of P positions, of a layer's output."""
    return (
        made.flatten(2).transpose(1, 2) if isinstance(layer, nn.Conv2d) else made.reshape(len(made), -1, made.shape[-1])
    )
