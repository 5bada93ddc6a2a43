"""The ``GNet`` layout of pytorch_GAN_zoo (Facebook AI Research). Its files say nothing of fading: taken as grown."""

from __future__ import annotations

from torch import Tensor

from reid_audit.prior.layouts.assemble import Layers, Layout, Pair, count, scaled


def _read(tensors: dict[str, Tensor]) -> Layers:
    plain = {name.replace(".module.", "."): tensor for name, tensor in tensors.items()}  # both spellings exist
    levels = count(plain, "toRGBLayers.{}.weight")
    convolutions: list[tuple[Pair, ...]] = [(scaled(plain, "groupScale0.0"),)]
    for index in range(levels - 1):
        convolutions.append(tuple(scaled(plain, f"scaleLayers.{index}.{i}") for i in (0, 1)))
    return Layers(
        start="dense",
        first=scaled(plain, "formatLayer"),
        convolutions=tuple(convolutions),
        to_image=tuple(scaled(plain, f"toRGBLayers.{index}") for index in range(levels)),
        level=levels - 1,
    )


LAYOUT = Layout("pytorch_GAN_zoo", ("groupScale0.0.weight", "groupScale0.0.module.weight"), _read)
