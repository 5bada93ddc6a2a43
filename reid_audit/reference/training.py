"""One reference model: trained on its part of the films until it is as sure of the pool as the audited network is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_audit.budget import Pace
from reid_audit.imaging.augmentation import augmented
from reid_audit.network.answers import log_odds, mean_loss, outputs_of, own_answers
from reid_audit.network.heads import HeadKind
from reid_audit.records import References

LEAST = 4
"""Images below which a batch is left out: statistics of one image say nothing."""
CHECKED = 256
"""Films that sureness is asked of after an epoch, drawn from the pool."""
PASS = 64
"""Images in one pass without gradients."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a reference model is trained on."""

    images: Tensor
    """[N, C, H, W] in [0, 1]: the pooled films."""
    wanted: Tensor
    """[N, *] answers to all of them, on the CPU."""
    kind: HeadKind
    prepare: Callable[[Tensor], Tensor]
    """From a few images to network input, on the network's device."""


def trained(
    module: nn.Module,
    lesson: Lesson,
    rows: Tensor,
    recipe: References,
    sure: float | None,
    *,
    seed: int,
    pace: Pace,
    name: str,
) -> int:
    """Train ``module`` in place on the films in ``rows``; returns the epochs it took. Raises OutOfTime.

    ``sure``: the mean log odds at which the audited network gives its own answers to the pooled films. Training ends
    after the first epoch at which the reference reaches it, or after ``recipe.epochs`` (None: all of them). Whoever is
    in training plays no role for that; the loss at the training films would make the references depend on it.
    """
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randperm(len(lesson.images), generator=generator)[:CHECKED]
    module.requires_grad_(True)
    optimiser = _optimiser(module, recipe)
    side, done = lesson.images.shape[-1], 0
    for epoch in pace.over(name, range(recipe.epochs), recipe.epochs):
        module.train()
        for part in torch.split(rows[torch.randperm(len(rows), generator=generator)], recipe.batch):
            if len(part) < min(LEAST, len(rows)):
                continue
            pace.check(name)
            films = augmented(lesson.images[part], recipe.augmentation, side, generator)
            outputs = outputs_of(module(lesson.prepare(films)))
            loss = mean_loss(lesson.kind, outputs, lesson.wanted[part].to(outputs.device))
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
        done = epoch + 1
        module.eval()
        if sure is not None and (sureness(module, lesson, asked) or 0.0) >= sure:
            break
    module.eval().requires_grad_(False)
    return done


def sureness(module: nn.Module, lesson: Lesson, rows: Tensor | None = None) -> float | None:
    """Mean log odds at which a network in evaluation mode gives its own answers; None for numbers, which have none."""
    if lesson.kind == "regression":
        return None
    images = lesson.images if rows is None else lesson.images[rows]
    total = 0.0
    with torch.no_grad():
        for part in torch.split(images, PASS):
            outputs = outputs_of(module(lesson.prepare(part)))
            total += float(log_odds(lesson.kind, outputs, own_answers(lesson.kind, outputs)).sum())
    return total / len(images)


def _optimiser(module: nn.Module, recipe: References) -> torch.optim.Optimizer:
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(module.parameters(), lr=recipe.rate, momentum=0.9, weight_decay=recipe.decay)
    return torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=recipe.decay, fused=True)
