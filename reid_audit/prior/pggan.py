"""Generator and discriminator of Karras et al. 2018 (Progressive Growing of GANs), with widths as arguments.

Level k draws images of 4 * 2**k pixels. Below alpha = 1 the level's picture is blended with the level before it.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_audit.artefacts.provenance import Origin, origin_entries, read_origin
from reid_audit.artefacts.storage import PriorFile, tensor_digest, write_prior
from reid_audit.errors import PriorError
from reid_audit.records import PriorCard

SLOPE = 0.2
Start = Literal["conv", "dense", "dense-unnormalised"]
WIDTHS: dict[int, tuple[int, ...]] = {
    4: (96,),
    8: (96, 64),
    16: (96, 64, 48),
    32: (96, 64, 48, 24),
    64: (96, 64, 48, 24, 12),
    128: (256, 192, 128, 64, 48, 32),
    256: (256, 256, 192, 128, 64, 32, 16),
}
"""Channels per level, from 4 px upwards, by final resolution: 0.1 GFLOP a forward at 64 px, 1.7 at 128."""


class ScaledConv(nn.Module):
    """Convolution whose weights are N(0, 1) and scaled at run time by He's constant (equalised learning rate)."""

    def __init__(self, inside: int, outside: int, kernel: int, *, gain: float = math.sqrt(2), padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outside, inside, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outside))
        self.scale = gain / math.sqrt(inside * kernel * kernel)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inside, H, W] -> [N, outside, H, W], with weights scaled as they are used."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


def pixel_norm(x: Tensor) -> Tensor:
    """Each pixel's feature vector to unit mean square (section 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class GeneratorBlock(nn.Module):
    """Two 3 x 3 convolutions after a nearest-neighbour doubling; the first level unfolds the latent instead."""

    def __init__(self, inside: int, outside: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        if first:
            self.conv0 = ScaledConv(inside, outside, 4, gain=math.sqrt(2) / 4, padding=3)
        else:
            self.conv0 = ScaledConv(inside, outside, 3, padding=1)
        self.conv1 = ScaledConv(outside, outside, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inside, H, W] -> [N, outside, 2 H, 2 W], or the same size in the first block."""
        x = x if self.first else F.interpolate(x, scale_factor=2, mode="nearest")
        x = pixel_norm(F.leaky_relu(self.conv0(x), SLOPE))
        return pixel_norm(F.leaky_relu(self.conv1(x), SLOPE))


class DenseStart(nn.Module):
    """First level of other implementations: a linear layer with a bias per pixel, normalised after it or not."""

    def __init__(self, latent: int, width: int, *, normalise: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(16 * width, latent))
        self.bias = nn.Parameter(torch.zeros(16 * width))
        self.conv1 = ScaledConv(width, width, 3, padding=1)
        self.normalise = normalise

    def forward(self, x: Tensor) -> Tensor:
        """Latents [N, K, 1, 1] -> [N, width, 4, 4]."""
        x = F.leaky_relu(F.linear(x.flatten(1), self.weight, self.bias), SLOPE).view(len(x), -1, 4, 4)
        x = pixel_norm(x) if self.normalise else x
        return pixel_norm(F.leaky_relu(self.conv1(x), SLOPE))


class Generator(nn.Module):
    """Latents [N, D] -> images [N, C, S, S] in about [-1, 1]."""

    def __init__(self, latent: int, widths: tuple[int, ...], channels: int = 1, start: Start = "conv") -> None:
        super().__init__()
        self.latent, self.widths, self.channels, self.start = latent, widths, channels, start
        sizes = pairwise((latent, *widths))
        self.blocks = nn.ModuleList(GeneratorBlock(i, o, first=k == 0) for k, (i, o) in enumerate(sizes))
        if start != "conv":
            self.blocks[0] = DenseStart(latent, widths[0], normalise=start == "dense")
        self.to_image = nn.ModuleList(ScaledConv(width, channels, 1, gain=1.0) for width in widths)

    def forward(self, latents: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """``level`` None is the last. ``alpha`` below 1 blends in the level before."""
        level = len(self.blocks) - 1 if level is None else level
        x = pixel_norm(latents).view(len(latents), -1, 1, 1)
        before = x
        for block in list(self.blocks)[: level + 1]:
            before, x = x, block(x)
        image: Tensor = self.to_image[level](x)
        if level == 0 or alpha >= 1:
            return image
        smaller = F.interpolate(self.to_image[level - 1](before), scale_factor=2, mode="nearest")
        return smaller + alpha * (image - smaller)


class DiscriminatorBlock(nn.Module):
    """Two 3 x 3 convolutions, then the mean of 2 x 2 pixels."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv0 = ScaledConv(inside, inside, 3, padding=1)
        self.conv1 = ScaledConv(inside, outside, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inside, H, W] -> [N, outside, H / 2, W / 2]."""
        x = F.leaky_relu(self.conv1(F.leaky_relu(self.conv0(x), SLOPE)), SLOPE)
        return F.avg_pool2d(x, 2)


class Discriminator(nn.Module):
    """Images in [-1, 1] -> one logit each: above 0 looks real."""

    def __init__(self, widths: tuple[int, ...], channels: int = 1) -> None:
        super().__init__()
        self.from_image = nn.ModuleList(ScaledConv(channels, width, 1) for width in widths)
        self.blocks = nn.ModuleList(DiscriminatorBlock(o, i) for i, o in pairwise(widths))
        self.last = ScaledConv(widths[0] + 1, widths[0], 3, padding=1)
        self.dense = ScaledConv(widths[0], widths[0], 4)
        self.logit = ScaledConv(widths[0], 1, 1, gain=1.0)

    def forward(self, images: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """``level`` None is the last; the images must have its side."""
        level = len(self.blocks) if level is None else level
        x = F.leaky_relu(self.from_image[level](images), SLOPE)
        for step in range(level, 0, -1):
            x = self.blocks[step - 1](x)
            if step == level and alpha < 1:
                smaller = F.leaky_relu(self.from_image[level - 1](F.avg_pool2d(images, 2)), SLOPE)
                x = smaller + alpha * (x - smaller)
        x = F.leaky_relu(self.last(with_minibatch_deviation(x)), SLOPE)
        logits: Tensor = self.logit(F.leaky_relu(self.dense(x), SLOPE))
        return logits.view(-1)


def with_minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """One more channel: the mean standard deviation over groups of images (section 3)."""
    size = next(g for g in range(min(group, len(x)), 0, -1) if len(x) % g == 0)
    groups = x.view(size, -1, *x.shape[1:])
    deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, deviation.repeat(size).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])], dim=1)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every ``ScaledConv`` weight from N(0, 1), in order, from ``generator``."""
    for layer in module.modules():
        if isinstance(layer, ScaledConv):
            with torch.no_grad():
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))


def forward_flops(widths: tuple[int, ...], latent: int) -> float:
    """Floating-point operations of one generated image (two per multiply-add), convolutions only."""
    total = 16.0 * latent * widths[0] + 16 * 9 * widths[0] ** 2
    for level, (inside, outside) in enumerate(pairwise(widths), start=1):
        total += (4 * 2**level) ** 2 * 9 * outside * (inside + outside)
    return 2 * total


@dataclass(frozen=True, slots=True, eq=False)
class PgganPrior:
    """A trained generator as a prior, with its discriminator where the file keeps one."""

    card: PriorCard
    network: Generator
    discriminator: Discriminator | None = None
    level: int | None = None
    """Level the network is used at; None: its last."""
    alpha: float = 1.0
    origin: Origin | None = None
    """The films it was trained on, where they are known."""

    @property
    def latent_dim(self) -> int:
        """D, the length of a latent."""
        return self.network.latent

    def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
        """[n, D] standard normal draws on the generator's device (the network sees their direction only)."""
        return torch.randn(n, self.latent_dim, generator=generator, device=generator.device)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, D] -> images [N, C, side, side], nominally in [0, 1]."""
        images: Tensor = self.network(latents, self.level, self.alpha)
        return (images + 1) / 2

    def realness(self, images: Tensor) -> Tensor | None:
        """Logits [N] of images in [0, 1], above 0 where they look real; None without a discriminator."""
        if self.discriminator is None:
            return None
        logits: Tensor = self.discriminator(images * 2 - 1, self.level, self.alpha)
        return logits

    def to(self, device: torch.device) -> PgganPrior:
        """A copy with its networks on ``device``."""
        critic = None if self.discriminator is None else copy.deepcopy(self.discriminator).to(device)
        return replace(self, network=copy.deepcopy(self.network).to(device), discriminator=critic)

    def tuned(self, network: Generator) -> PgganPrior:
        """The same prior around another generator, for example a fine-tuned copy of ``network``."""
        return replace(self, network=network)

    def save(self, path: Path, *, half: bool = True, **metadata: str) -> None:
        """Write to safetensors, as fp16 by default."""
        tensors = network_tensors(self.network, self.discriminator)
        tensors = {name: tensor.half() if half else tensor for name, tensor in tensors.items()}
        known, entries = origin_entries(self.origin)
        net = self.network
        shape = {"widths": net.widths, "latent": net.latent, "start": net.start}
        shape |= {"level": self.level, "alpha": self.alpha}
        write_prior(path, tensors | known, self.card, network=json.dumps(shape), **entries, **metadata)


def network_tensors(network: Generator, critic: Discriminator | None) -> dict[str, Tensor]:
    """Parameters of both networks under ``generator.`` and ``discriminator.``."""
    tensors = {f"generator.{name}": value.detach() for name, value in network.state_dict().items()}
    if critic is not None:
        tensors |= {f"discriminator.{name}": value.detach() for name, value in critic.state_dict().items()}
    return tensors


def prior_of(
    network: Generator, critic: Discriminator | None, card: PriorCard, level: int, alpha: float, origin: Origin | None
) -> PgganPrior:
    """A prior around copies of the networks, in evaluation mode without gradients, digested as they are now."""
    networks = [copy.deepcopy(n).eval().requires_grad_(False) for n in (network, critic) if n is not None]
    digest = tensor_digest(network_tensors(network, critic))
    card = card.model_copy(update={"sha256": digest, "side": 4 * 2**level})
    kept = networks[1] if critic is not None else None
    return PgganPrior(card, networks[0], kept, level, alpha, origin)  # type: ignore[arg-type]


def load_pggan(file: PriorFile) -> PgganPrior:
    """The prior in a file written by ``save``. Raises PriorError where shapes and description disagree."""
    card = file.card()
    try:
        shape = json.loads(file.metadata["network"])
        widths = tuple(int(width) for width in shape["widths"])
        start: Start = shape.get("start", "conv")
        if start not in get_args(Start):
            raise ValueError(f"start {start!r}")
        network = Generator(int(shape["latent"]), widths, card.channels, start)
        network.load_state_dict(_under("generator.", file.tensors))
        critic = None
        if any(name.startswith("discriminator.") for name in file.tensors):
            critic = Discriminator(widths, card.channels)
            critic.load_state_dict(_under("discriminator.", file.tensors))
            critic.eval().requires_grad_(False)
        level = None if shape["level"] is None else int(shape["level"])
        alpha = float(shape["alpha"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise PriorError(
            "the PGGAN prior file is damaged",
            closest=str(error)[:200],
            remedy="train it again with 'reid-audit prior train', or leave --prior out to use the shipped one",
        ) from error
    network.eval().requires_grad_(False)
    return PgganPrior(card, network, critic, level, alpha, read_origin(file))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t.float() for name, t in tensors.items() if name.startswith(prefix)}
