"""The ``ProGenerator`` layout of Segal et al. 2021 (repository CXR_PGGAN), trained there on chest radiographs."""

from __future__ import annotations

from torch import Tensor

from reid_audit.prior.layouts.assemble import Layers, Layout, Pair, count, scaled


def _read(tensors: dict[str, Tensor]) -> Layers:
    levels = count(tensors, "toRGB.{}.module.weight")
    convolutions: list[tuple[Pair, ...]] = [(scaled(tensors, "init_conv.0.module"),)]
    for index in range(levels - 1):
        # Convolution, activation, normalisation, twice: entries 0 and 3 of the sequence hold weights.
        convolutions.append(tuple(scaled(tensors, f"ScaleBlocks.{index}.convolv.{i}.module") for i in (0, 3)))
    return Layers(
        start="dense-unnormalised",
        first=scaled(tensors, "latent_linear.0.module"),
        convolutions=tuple(convolutions),
        to_image=tuple(scaled(tensors, f"toRGB.{index}.module") for index in range(levels)),
        level=levels - 1,
        alpha=1.0 - float(tensors["alpha"]) if "alpha" in tensors else 1.0,  # there, alpha weighs the level before
    )


LAYOUT = Layout("CXR_PGGAN", ("latent_linear.0.module.weight",), _read)
