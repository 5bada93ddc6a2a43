"""How references are trained where the policy leaves it open: by the kind of network, and by the audited network's own
bearing on the pooled films.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from reid_audit.budget import Pace
from reid_audit.network.answers import log_odds, outputs_of, own_answers, right
from reid_audit.network.heads import HeadKind
from reid_audit.records import References
from reid_audit.reference.lesson import Lesson

RATE, EPOCHS = 1e-3, 40
ATTENDING_RATE, ATTENDING_EPOCHS = 3e-4, 120
"""Of networks with self-attention: at a rate of 1e-3 a vision transformer learned none of several hundred films
(docs/log.md), and it needs two to three times the epochs of a convolutional network."""
ATTENTION = ("Attention", "SABlock")
"""In the names of layers that attend, in torch, timm, torchvision, transformers and MONAI."""
OVERCONFIDENT = 2.0
"""How many times more often than it expects a network has to err to count as trained without augmentation."""
CERTAIN = 4.0
"""Mean log odds from which on it counts as such where its errors are not known, in nats."""


@dataclass(frozen=True, slots=True)
class Bearing:
    """How a network answers the pooled films, whoever of them was in training."""

    odds: float
    """Mean log odds at which it gives its own answers, in nats."""
    expected: float
    """Errors it expects by them, as a share."""
    errors: float
    """Answers that are not the taught ones, as a share; 0 where those are its own."""


def asked_for(recipe: References, head: HeadKind) -> bool:
    """Whether the policy asks for references and the network has answers that they could be taught."""
    return recipe.when != "off" and head != "features"


def rate_of(recipe: References, module: nn.Module) -> float:
    """The learning rate of a reference like ``module``."""
    return recipe.rate or (ATTENDING_RATE if attends(module) else RATE)


def epochs_of(recipe: References, module: nn.Module) -> int:
    """How many epochs a reference like ``module`` is trained for at most."""
    return recipe.epochs or (ATTENDING_EPOCHS if attends(module) else EPOCHS)


def attends(module: nn.Module) -> bool:
    """Whether a network has layers of self-attention, as a transformer has."""
    return any(name in type(layer).__name__ for layer in module.modules() for name in ATTENTION)


def bearing(module: nn.Module, lesson: Lesson, pace: Pace, stage: str) -> Bearing | None:
    """In evaluation mode; None for numbers, which have no odds. Raises OutOfTime."""
    if lesson.kind == "regression":
        return None
    odds: list[float] = []
    errors: list[float] = []
    for outputs, wanted in lesson.answered(lambda part: outputs_of(module(part)), pace, stage):
        odds += log_odds(lesson.kind, outputs, own_answers(lesson.kind, outputs)).tolist()
        errors += (1.0 - right(lesson.kind, outputs, wanted)).tolist()
    expected = 1.0 / (1.0 + np.exp(np.asarray(odds)))
    return Bearing(float(np.mean(odds)), float(expected.mean()), float(np.mean(errors)))


def settled(recipe: References, seen: Bearing | None) -> References:
    """``recipe`` with its augmentation decided.

    Augmentation leaves a network calibrated: it errs about as often as it expects. One that errs far more often was
    trained until it knew its films, and so are its references. Asked of all pooled films, it says nothing of a cohort.
    """
    if recipe.augmentation != "auto":
        return recipe
    plain = seen is None or (seen.errors > OVERCONFIDENT * seen.expected if seen.errors else seen.odds >= CERTAIN)
    return recipe.model_copy(update={"augmentation": "none" if plain else "moved"})
