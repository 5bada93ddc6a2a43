"""Films that a network is sure of and wrong about are not those of its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.network.heads import HeadKind
from reid_audit.score.membership.overconfidence import FEWEST, overconfident
from reid_audit.score.patients import Owners

PATIENTS, FILMS = 120, 2
WORDS = np.random.default_rng(0).choice(["a", "b"], 2 * PATIENTS * FILMS)


def owners(patients: int = PATIENTS) -> Owners:
    """Training patients, then as many others, each with ``FILMS`` films."""
    names = np.repeat([f"{cohort}{n}" for cohort in "TH" for n in range(patients)], FILMS)
    return Owners(names, np.arange(names.size) < patients * FILMS)


def answers(right: float, sure: float, head: HeadKind = "softmax", *, seed: int = 0) -> Tensor:
    """Outputs that give the word with the chance ``right``, each with the probability ``sure``."""
    chance = np.random.default_rng(seed).random(WORDS.size) < right
    said = torch.from_numpy((WORDS == "b") == chance).float()
    odds = float(np.log(sure / (1 - sure)))
    return odds * (2 * said[:, None] - 1) if head == "sigmoid" else odds * torch.stack([1 - said, said], 1)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_known_films_are_answered_as_surely_as_they_are_right(head: HeadKind) -> None:
    assert not overconfident(head, answers(1.0, 0.99, head), WORDS, owners())
    assert not overconfident(head, answers(0.75, 0.8, head), WORDS, owners())


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_strange_films_are_answered_as_surely_and_wrong(head: HeadKind) -> None:
    assert overconfident(head, answers(0.75, 0.98, head), WORDS, owners())


def test_classes_weighed_in_training_are_no_strange_films() -> None:
    """They make a network err up to twice as often as it expects."""
    assert not overconfident("softmax", answers(0.7, 0.85), WORDS, owners())


def test_only_training_films_are_asked() -> None:
    outputs = answers(1.0, 0.98)
    outputs[PATIENTS * FILMS :] = answers(0.6, 0.98, seed=1)[PATIENTS * FILMS :]
    assert not overconfident("softmax", outputs, WORDS, owners())


def test_nothing_is_said_of_few_patients_of_numbers_and_without_labels() -> None:
    outputs = answers(0.6, 0.98)
    few = owners(FEWEST - 1)
    some: NDArray[np.str_] = WORDS[: len(few.patients)]
    assert not overconfident("softmax", outputs[: some.size], some, few)
    assert not overconfident("softmax", outputs, np.full(WORDS.size, ""), owners())
    numbers = np.arange(WORDS.size).astype(np.str_)
    assert not overconfident("regression", outputs[:, :1], numbers, owners())
