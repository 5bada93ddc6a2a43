"""What training pipelines do to films at random, so that statistics can be compared with what a network really saw."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

Augmentation = Literal["none", "moved", "cropped half", "cropped"]
AUGMENTATIONS: tuple[Augmentation, ...] = ("none", "moved", "cropped half", "cropped")
"""``moved``: shifts, rotations, zooms, flips, brightness and contrast of classifiers for radiographs. ``cropped``,
``cropped half``: a random crop of 8 % or 50 % of the area and more, resized (RandomResizedCrop, He et al. 2016)."""
SMALLEST = {"cropped half": 0.5, "cropped": 0.08}


def augmented(images: Tensor, kind: Augmentation, side: int, generator: torch.Generator) -> Tensor:
    """Images [N, C, H, W] in [0, 1], augmented at random, as [N, C, side, side].

    Crops are taken from the images as given and then resized: give them larger than ``side``, as training does.
    """
    if kind in SMALLEST:
        return torch.stack([_cropped(image, SMALLEST[kind], side, generator) for image in images])
    resized = images if images.shape[-1] == side else transforms.resize(images, [side, side], antialias=True)
    return _moved(resized, generator) if kind == "moved" else resized


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Up to 12 % shift and zoom, 8 degrees, flips, 20 % contrast and 0.1 brightness."""
    count = len(images)

    def draw(limit: float) -> Tensor:
        return limit * (2 * torch.rand(count, generator=generator) - 1)

    angle, zoom = draw(0.14), 1 + draw(0.12)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1], theta[:, 0, 2] = zoom * angle.cos() * flip, -zoom * angle.sin(), draw(0.12)
    theta[:, 1, 0], theta[:, 1, 1], theta[:, 1, 2] = zoom * angle.sin() * flip, zoom * angle.cos(), draw(0.12)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid.to(images), padding_mode="border", align_corners=False)
    gain, lift = 1 + draw(0.2), draw(0.1)
    return (moved * gain.view(-1, 1, 1, 1) + lift.view(-1, 1, 1, 1)).clamp(0.0, 1.0)


def _cropped(image: Tensor, smallest: float, side: int, generator: torch.Generator) -> Tensor:
    """A crop of a random share of the area and an aspect ratio between 3/4 and 4/3, resized."""
    area, aspect, down, across, flip = torch.rand(5, generator=generator).tolist()
    share, ratio = smallest + (1.0 - smallest) * area, (4 / 3) ** (2 * aspect - 1)
    height, width = image.shape[-2:]
    tall, wide = (min(1.0, (share / ratio) ** 0.5), min(1.0, (share * ratio) ** 0.5))
    tall, wide = max(1, round(tall * height)), max(1, round(wide * width))
    crop: Tensor = transforms.resized_crop(
        image,
        round(down * (height - tall)),
        round(across * (width - wide)),
        tall,
        wide,
        [side, side],
        interpolation=InterpolationMode.BILINEAR,
        antialias=True,
    )
    return crop.flip(-1) if flip < 0.5 else crop
