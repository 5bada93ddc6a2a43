"""One reference model: trained on its part of the films until it is as sure of the pool as the audited network is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_audit.budget import Pace, unhurried
from reid_audit.imaging.augmentation import augmented
from reid_audit.network.answers import log_odds, mean_loss, outputs_of, own_answers, right
from reid_audit.records import References
from reid_audit.reference.lesson import Lesson
from reid_audit.reference.recipe import epochs_of, rate_of

LEAST = 4
"""Images below which a batch is left out: statistics of one image say nothing."""
CHECKED = 256
"""Films that sureness is asked of after an epoch, drawn from the pool."""


PATIENCE = 1.5
"""How many times the epochs that sureness took training may go on for the sake of errors."""


@dataclass(frozen=True, slots=True)
class Goal:
    """How the audited network answers the pooled films, whoever of them was in training."""

    odds: float
    """Mean log odds of its own answers, in nats."""
    errors: float
    """Share of the taught answers that it does not give; 1 where there are none but its own."""


@dataclass(frozen=True, slots=True)
class Course:
    """How references are trained, and when it is enough."""

    recipe: References
    goal: Goal | None
    """None: after all epochs of the recipe."""


def trained(
    module: nn.Module, lesson: Lesson, rows: Tensor, course: Course, *, seed: int, pace: Pace, name: str
) -> int:
    """Train ``module`` in place on the films in ``rows``; returns the epochs it took. Raises OutOfTime.

    Training ends after the first epoch at which the reference is as sure of the pooled films as its goal says and errs
    no more often there, ``PATIENCE`` later at the latest, or after all epochs of the recipe. Whoever is in
    training plays no role for that; the loss at the training films would make the references depend on it.
    """
    recipe, goal = course.recipe, course.goal
    generator = torch.Generator().manual_seed(seed)
    asked = checked(lesson, generator)
    module.requires_grad_(True)
    optimiser = _optimiser(module, recipe)
    side, done, most = lesson.images.shape[-1], 0, epochs_of(recipe, module)
    latest = most
    for epoch in pace.over(name, range(most), most):
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
        if goal is None:
            continue
        odds, errors = standing(module, lesson, asked)
        if odds >= goal.odds:
            latest = min(latest, math.ceil(PATIENCE * done))
        if done >= latest or (odds >= goal.odds and errors <= goal.errors):
            break
    module.eval().requires_grad_(False)
    return done


def checked(lesson: Lesson, generator: torch.Generator) -> Tensor:
    """[``CHECKED``] rows of pooled films by chance, or of all where there are fewer."""
    return torch.randperm(len(lesson.images), generator=generator)[:CHECKED]


def standing(module: nn.Module, lesson: Lesson, rows: Tensor) -> tuple[float, float]:
    """(mean log odds of its own answers in nats, share of errors) of a network in evaluation mode on films ``rows``."""
    odds, errors = list[Tensor](), list[Tensor]()
    for outputs, wanted in lesson.answered(lambda part: outputs_of(module(part)), unhurried(), "", rows):
        odds.append(log_odds(lesson.kind, outputs, own_answers(lesson.kind, outputs)))
        errors.append(1.0 - right(lesson.kind, outputs, wanted))
    return float(torch.cat(odds).mean()), float(torch.cat(errors).mean())


def _optimiser(module: nn.Module, recipe: References) -> torch.optim.Optimizer:
    rate = rate_of(recipe, module)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9, weight_decay=recipe.decay)
    return torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=recipe.decay, fused=True)
