"""One reference model: trained on its part of the films until it is as sure of the pool as the audited network is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_audit.budget import Pace, unhurried
from reid_audit.imaging.augmentation import augmented
from reid_audit.network.answers import log_odds, mean_loss, outputs_of, own_answers
from reid_audit.records import References
from reid_audit.reference.lesson import Lesson

LEAST = 4
"""Images below which a batch is left out: statistics of one image say nothing."""
CHECKED = 256
"""Films that sureness is asked of after an epoch, drawn from the pool."""


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
            films = lesson.images[part]
            if recipe.augmentation == "moved":
                films = augmented(films, "moved", side, generator)
            outputs = outputs_of(module(lesson.prepare(films)))
            loss = mean_loss(lesson.kind, outputs, lesson.wanted[part].to(outputs.device))
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
        done = epoch + 1
        module.eval()
        if sure is not None and sureness(module, lesson, asked) >= sure:
            break
    module.eval().requires_grad_(False)
    return done


def sureness(module: nn.Module, lesson: Lesson, rows: Tensor) -> float:
    """Mean log odds at which a network in evaluation mode gives its own answers to the films in ``rows``, in nats."""
    odds = [
        log_odds(lesson.kind, outputs, own_answers(lesson.kind, outputs))
        for outputs, _ in lesson.answered(lambda part: outputs_of(module(part)), unhurried(), "", rows)
    ]
    return float(torch.cat(odds).mean())


def _optimiser(module: nn.Module, recipe: References) -> torch.optim.Optimizer:
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(module.parameters(), lr=recipe.rate, momentum=0.9, weight_decay=recipe.decay)
    return torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=recipe.decay, fused=True)
