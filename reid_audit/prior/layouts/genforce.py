"""The ``PGGANGenerator`` layout of genforce, in which the published TensorFlow generators are handed around."""

from __future__ import annotations

import math

from torch import Tensor

from reid_audit.prior.layouts.assemble import Layers, Layout, Pair, count, he


def _read(tensors: dict[str, Tensor]) -> Layers:
    levels = count(tensors, "output{}.weight")
    convolutions: list[tuple[Pair, ...]] = [(_layer(tensors, "layer1"),)]
    for index in range(1, levels):
        pairs = tuple(_layer(tensors, f"layer{2 * index + half}") for half in (0, 1))
        if pairs[0][0].shape[0] != pairs[1][0].shape[0]:
            raise ValueError("upsampling fused with the convolution (fused_scale) is not read")
        convolutions.append(pairs)
    detail = float(tensors["lod"]) if "lod" in tensors else 0.0  # levels still missing; a fraction is a fade-in
    return Layers(
        start="conv",
        first=_layer(tensors, "layer0"),
        convolutions=tuple(convolutions),
        to_image=tuple(_layer(tensors, f"output{index}", gain=math.sqrt(0.5)) for index in range(levels)),
        level=levels - 1 - int(detail),
        alpha=1.0 - detail % 1.0,
    )


def _layer(tensors: dict[str, Tensor], name: str, *, gain: float = 1.0) -> Pair:
    """Here the scale meets the weight only, and the picture layers have gain 1 in place of sqrt(2)."""
    weight = tensors[f"{name}.weight"]
    return weight * he(weight) * gain, tensors[f"{name}.bias"]


LAYOUT = Layout("genforce", ("layer0.weight",), _read)
