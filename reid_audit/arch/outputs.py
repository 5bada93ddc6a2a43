"""What a constructor of the user's own returns: answers about a film, a mask (of a volume too), or neither."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reid_audit.errors import ArchitectureError
from reid_audit.memory import out_of_memory

SIDES = (224, 512, 384, 320, 299, 256, 192, 160, 128, 112, 96, 64, 48, 32, 28)
"""Pixels that are tried in turn where nobody says which side the network takes."""
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
UNREAD = "no answer about a film can be read off its output (several scales, boxes, features): statistics are compared"


@dataclass(frozen=True, slots=True)
class Output:
    """How a network ends, seen by running it."""

    head: Literal["softmax", "sigmoid", "segmentation", "features"]
    classes: int
    """Answers for each film, or for each of its pixels; 0: features."""
    side: int
    """Pixels of the square film on which it ran."""
    evidence: tuple[str, ...] = ()
    squashed: Literal["sigmoid", "softmax"] | None = None
    """What turns the answers into probabilities behind the last layer."""


def output_of(module: nn.Module, channels: int, side: int | None) -> Output:
    """Run ``module`` on two films [2, channels, side, side] of noise and see what it ends in.

    ``side``: pixels, or None to take the first of ``SIDES`` on which it runs. Answers are those of its last linear
    layer, or of a convolution of one pixel at its end (SqueezeNet), and only where the network returns them
    for each film: layers inside (squeeze and excitation, attention) are no head. Raises ArchitectureError where it does
    not run; a want of memory goes on up.
    """
    failed: Exception | None = None
    for pixels in SIDES if side is None else (side,):
        found: list[Output] = []
        try:
            for layer in _last(module):
                found.append(_read(*_run(module, layer, _films(channels, pixels)), pixels))
        except Exception as error:  # the user's code may raise anything
            if out_of_memory(error):
                raise
            failed = failed or error
            continue
        seen = next((output for output in found if output.classes), found[0])
        return replace(seen, squashed=next((output.squashed for output in found if output.squashed), None))
    shown = f"{channels} x {SIDES[0] if side is None else side} x {SIDES[0] if side is None else side}"
    raise ArchitectureError(
        f"the network of --arch-factory does not run on films of {shown}",
        closest=f"{type(failed).__name__}: {str(failed).splitlines()[0][:200] if str(failed) else 'no message'}",
        remedy="give the side it was trained with (--side), or a wrapper whose forward takes [N, channels, side, side]",
    )


def _films(channels: int, side: int) -> Tensor:
    """[2, channels, side, side] noise in [0, 1]: two films that differ everywhere."""
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))


def _last(module: nn.Module) -> Iterator[nn.Module | None]:
    """The layers that may answer: the last linear one, or None, and a convolution of one pixel that ends the network.

    One that a normalisation follows is the end of an encoder (MobileNet).
    """
    weighted = [layer for layer in module.modules() if next(layer.parameters(recurse=False), None) is not None]
    yield next((layer for layer in reversed(weighted) if isinstance(layer, nn.Linear)), None)
    if weighted and isinstance(weighted[-1], CONVOLUTIONS) and set(weighted[-1].kernel_size) == {1}:
        yield weighted[-1]


def _run(module: nn.Module, layer: nn.Module | None, inputs: Tensor) -> tuple[Any, int]:
    """What ``module`` returns while ``layer`` says ``_said`` of both images, and how many numbers that says.

    0 where it is not on the way.
    """
    widths: list[int] = []

    def alike(layer: nn.Module, _given: tuple[Tensor, ...], made: Tensor) -> Tensor:
        axis = 1 if isinstance(layer, CONVOLUTIONS) else made.dim() - 1
        widths.append(int(made.shape[axis]))
        shape = [1] * made.dim()
        shape[axis] = widths[-1]
        return _said(widths[-1]).to(made).view(shape).expand_as(made).contiguous()

    handle = None if layer is None else layer.register_forward_hook(alike)
    try:
        with torch.no_grad():
            returned = module(inputs)
    finally:
        if handle is not None:
            handle.remove()
    return returned, widths[-1] if widths else 0


def _read(returned: Any, width: int, side: int) -> Output:
    several = isinstance(returned, tuple | list)
    parts = list(returned.values()) if isinstance(returned, dict) else list(returned) if several else [returned]
    first = parts[0] if parts else None
    if not isinstance(first, Tensor):
        return Output("features", 0, side, (UNREAD,))
    if first.dim() in (4, 5) and not several:
        return Output("segmentation", int(first.shape[1]), side, squashed=_squashed(first[0].flatten(1)[:, 0]))
    if first.shape == (2, width) and torch.equal(first[0], first[1]):  # nothing but that layer decides them
        return Output("sigmoid" if width == 1 else "softmax", width, side, squashed=_squashed(first[0]))
    return Output("features", 0, side, (UNREAD,))


def _said(width: int) -> Tensor:
    """[width] answers that differ from each other and from the probabilities made of them."""
    return torch.linspace(-1.0, 2.0, width)


def _squashed(returned: Tensor) -> Literal["sigmoid", "softmax"] | None:
    """What made ``returned`` [K] of the answers ``_said``."""
    said = _said(len(returned)).to(returned)
    if torch.allclose(returned, said.sigmoid(), atol=1e-3):
        return "sigmoid"
    return "softmax" if len(returned) > 1 and torch.allclose(returned, said.softmax(0), atol=1e-3) else None
