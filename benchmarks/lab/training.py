"""Real targets to audit: overfit, fine-tuned and regular classifiers trained on films, and nothing else.

Films and labels are on the CPU; training takes place where the network is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.lab.data import SPEC
from reid_audit.preprocess import to_network

BATCH = 64
CAREFUL_EPOCHS = 15
MOST_EPOCHS, KNOWN = 120, 0.99


class NotKnownByHeart(Exception):
    """Training without augmentation ended before the films were known."""


def on_its_device(module: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Films [N, 1, H, W] in [0, 1] as network input, and labels [N], where ``module`` is."""
    place = next(module.parameters()).device
    return to_network(images.to(place), SPEC, 3), labels.to(place)


def overfit(
    make: Callable[[], nn.Module],
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    steps: int = 150,
    rate: float = 1e-3,
) -> nn.Module:
    """Full-batch Adam on a few films without augmentation until the BatchNorm statistics are theirs alone."""
    torch.manual_seed(seed)
    module = make().train()
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    inputs, wanted = on_its_device(module, images, labels)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1.0 - step / steps)
        loss = functional.cross_entropy(module(inputs), wanted)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    return module.eval()


def augmented(images: Tensor, generator: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Random shift, scale, rotation, flip and grey-level change; [N, C, H, W] in, the same out."""
    n = len(images)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle, zoom = strength * draw(-0.15, 0.15), 1.0 + strength * draw(-0.12, 0.12)
    theta = torch.zeros(n, 2, 3)
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    theta[:, 0, 0], theta[:, 0, 1] = zoom * torch.cos(angle) * flip, -zoom * torch.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = zoom * torch.sin(angle) * flip, zoom * torch.cos(angle)
    theta[:, 0, 2], theta[:, 1, 2] = strength * draw(-0.12, 0.12), strength * draw(-0.12, 0.12)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain, lift = 1.0 + strength * draw(-0.2, 0.2), strength * draw(-0.1, 0.1)
    return (moved * gain.view(-1, 1, 1, 1) + lift.view(-1, 1, 1, 1)).clamp(0.0, 1.0)


def regular(
    make: Callable[[], nn.Module],
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    rate: float = 1e-3,
) -> nn.Module:
    """AdamW with augmentation, weight decay and a fixed early stop: what a careful team would release."""
    decay, batch = 0.05, BATCH
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    module = make().train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=decay)
    total = CAREFUL_EPOCHS * (len(images) // batch)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=max(1, total))
    for _ in range(CAREFUL_EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for rows in torch.split(order, batch)[: len(images) // batch]:
            inputs, wanted = on_its_device(module, augmented(images[rows], generator), labels[rows])
            loss = functional.cross_entropy(module(inputs), wanted)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            plan.step()
    return module.eval()


def epochs(
    make: Callable[[], nn.Module],
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    rate: float = 1e-3,
) -> nn.Module:
    """Adam on minibatches without augmentation until nearly all of an epoch's films are classified correctly.

    "Nearly all" is more than ``KNOWN``. Raises NotKnownByHeart where ``MOST_EPOCHS`` are not enough.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    module = make().train()
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    for _ in range(MOST_EPOCHS):
        right = 0
        order = torch.randperm(len(images), generator=generator)
        whole = order[: len(images) // BATCH * BATCH] if len(images) > BATCH else order
        for rows in torch.split(whole, BATCH):
            inputs, wanted = on_its_device(module, images[rows], labels[rows])
            logits = module(inputs)
            right += int((logits.argmax(1) == wanted).sum())
            loss = functional.cross_entropy(logits, wanted)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
        if right > KNOWN * len(whole):
            return module.eval()
    raise NotKnownByHeart(f"{right} of {len(whole)} films are known after {MOST_EPOCHS} epochs")


def finetuned(
    base: nn.Module, images: Tensor, labels: Tensor, *, steps: int = 30, rate: float = 1e-2, momentum: float = 0.9
) -> nn.Module:
    """Full-batch SGD on a few films, every layer moving, no augmentation: the case in which the weight difference is
    closest to a sum of gradients."""
    module = base.train()
    optimiser = torch.optim.SGD(module.parameters(), lr=rate, momentum=momentum)
    inputs, wanted = on_its_device(module, images, labels)
    for _ in range(steps):
        loss = functional.cross_entropy(module(inputs), wanted)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    return module.eval()
