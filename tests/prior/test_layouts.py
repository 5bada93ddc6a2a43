"""Foreign PGGAN layouts give the image that a forward written from the published layout gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from reid_audit.errors import PriorError
from reid_audit.prior.loading import load_prior
from reid_audit.prior.pggan import PgganPrior

LATENT, WIDTHS, CHANNELS = 6, (8, 6, 4), 3
Tensors = dict[str, Tensor]
Reference = Callable[[Tensors, Tensor], Tensor]


def layer(tensors: Tensors, name: str, *shape: int) -> None:
    generator = torch.Generator().manual_seed(len(tensors))
    tensors[f"{name}.weight"] = torch.randn(*shape, generator=generator)
    tensors[f"{name}.bias"] = torch.randn(shape[0], generator=generator)


def norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def equalised(t: Tensors, name: str, x: Tensor, padding: int = 0) -> Tensor:
    """Whole output times He's constant, as EqualizedLayer and ConstrainedLayer do."""
    weight, bias = t[f"{name}.weight"], t[f"{name}.bias"]
    y = F.linear(x, weight, bias) if weight.dim() == 2 else F.conv2d(x, weight, bias, padding=padding)
    return y * math.sqrt(2 / weight[0].numel())


def segal_tensors() -> Tensors:
    t: Tensors = {}
    layer(t, "latent_linear.0.module", 16 * WIDTHS[0], LATENT)
    layer(t, "init_conv.0.module", WIDTHS[0], WIDTHS[0], 3, 3)
    for index, width in enumerate(WIDTHS):
        layer(t, f"toRGB.{index}.module", CHANNELS, width, 1, 1)
    for index, (inside, outside) in enumerate(pairwise(WIDTHS)):
        layer(t, f"ScaleBlocks.{index}.convolv.0.module", outside, inside, 3, 3)
        layer(t, f"ScaleBlocks.{index}.convolv.3.module", outside, outside, 3, 3)
    return t | {"alpha": torch.tensor(0.25), "current_depth": torch.tensor(2), "current_size": torch.tensor(16)}


def segal_forward(t: Tensors, z: Tensor) -> Tensor:
    x = lrelu(equalised(t, "latent_linear.0.module", norm(z))).view(len(z), -1, 4, 4)
    x = norm(lrelu(equalised(t, "init_conv.0.module", x, 1)))
    for index in range(2):
        before = x
        x = twice(x)
        for entry in (0, 3):
            x = norm(lrelu(equalised(t, f"ScaleBlocks.{index}.convolv.{entry}.module", x, 1)))
    expansion = twice(equalised(t, "toRGB.1.module", before))
    return 0.25 * expansion + 0.75 * equalised(t, "toRGB.2.module", x)


def zoo_tensors(infix: str) -> Tensors:
    t: Tensors = {}
    layer(t, f"formatLayer{infix}", 16 * WIDTHS[0], LATENT)
    layer(t, f"groupScale0.0{infix}", WIDTHS[0], WIDTHS[0], 3, 3)
    for index, width in enumerate(WIDTHS):
        layer(t, f"toRGBLayers.{index}{infix}", CHANNELS, width, 1, 1)
    for index, (inside, outside) in enumerate(pairwise(WIDTHS)):
        layer(t, f"scaleLayers.{index}.0{infix}", outside, inside, 3, 3)
        layer(t, f"scaleLayers.{index}.1{infix}", outside, outside, 3, 3)
    return t


def zoo_forward(t: Tensors, z: Tensor) -> Tensor:
    t = {name.replace(".module.", "."): tensor for name, tensor in t.items()}
    x = norm(lrelu(equalised(t, "formatLayer", norm(z))).view(len(z), -1, 4, 4))
    x = norm(lrelu(equalised(t, "groupScale0.0", x, 1)))
    for index in range(2):
        x = twice(x)
        for entry in (0, 1):
            x = norm(lrelu(equalised(t, f"scaleLayers.{index}.{entry}", x, 1)))
    return equalised(t, "toRGBLayers.2", x)


def genforce_tensors(lod: float) -> Tensors:
    t: Tensors = {}
    layer(t, "layer0", WIDTHS[0], LATENT, 4, 4)
    layer(t, "layer1", WIDTHS[0], WIDTHS[0], 3, 3)
    for index, (inside, outside) in enumerate(pairwise(WIDTHS), start=1):
        layer(t, f"layer{2 * index}", outside, inside, 3, 3)
        layer(t, f"layer{2 * index + 1}", outside, outside, 3, 3)
    for index, width in enumerate(WIDTHS):
        layer(t, f"output{index}", CHANNELS, width, 1, 1)
    return t | {"lod": torch.tensor(lod)}


def genforce_forward(t: Tensors, z: Tensor) -> Tensor:
    def block(name: str, x: Tensor, padding: int, gain: float = math.sqrt(2)) -> Tensor:
        weight = t[f"{name}.weight"]
        return F.conv2d(norm(x), weight * (gain / math.sqrt(weight[0].numel())), t[f"{name}.bias"], padding=padding)

    x = lrelu(block("layer1", lrelu(block("layer0", norm(z).view(len(z), -1, 1, 1), 3)), 1))
    image = block("output0", x, 0, 1.0)
    for index in (1, 2):
        x = lrelu(block(f"layer{2 * index + 1}", lrelu(block(f"layer{2 * index}", twice(x), 1)), 1))
        alpha = 1 - float(t["lod"]) if index == 2 else 1.0
        image = alpha * block(f"output{index}", x, 0, 1.0) + (1 - alpha) * twice(image)
    return image


CASES: list[tuple[str, Tensors, Reference]] = [
    ("segal", segal_tensors(), segal_forward),
    ("segal-lightning", {f"generator.{k}": v for k, v in segal_tensors().items()}, segal_forward),
    ("zoo", zoo_tensors(""), zoo_forward),
    ("zoo-module", zoo_tensors(".module"), zoo_forward),
    ("genforce", genforce_tensors(0.0), genforce_forward),
    ("genforce-fading", genforce_tensors(0.4), genforce_forward),
]


@pytest.mark.parametrize(("name", "tensors", "reference"), CASES, ids=[case[0] for case in CASES])
def test_same_image_as_the_published_forward(name: str, tensors: Tensors, reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.safetensors"
    save_file(tensors, path)
    prior = load_prior(path)
    assert isinstance(prior, PgganPrior)
    latents = prior.sample_latents(5, torch.Generator().manual_seed(1))
    plain = {key.removeprefix("generator."): value for key, value in tensors.items()}
    torch.testing.assert_close(prior.decode(latents) * 2 - 1, reference(plain, latents), atol=1e-4, rtol=1e-4)
    assert (prior.card.side, prior.card.channels, prior.card.declared_training_sets) == (16, CHANNELS, ())
    prior.save(tmp_path / "ours.safetensors", half=False)
    again = load_prior(tmp_path / "ours.safetensors")
    torch.testing.assert_close(again.decode(latents), prior.decode(latents))


def test_unknown_and_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(PriorError, match="known layout"):
        load_prior(path)
    tensors = segal_tensors()
    tensors["ScaleBlocks.1.convolv.0.module.weight"] = torch.zeros(4, 5, 3, 3)
    save_file(tensors, path)
    with pytest.raises(PriorError, match="CXR_PGGAN"):
        load_prior(path)
    del tensors["ScaleBlocks.1.convolv.0.module.weight"]
    save_file(tensors, path)
    with pytest.raises(PriorError, match="CXR_PGGAN"):
        load_prior(path)
