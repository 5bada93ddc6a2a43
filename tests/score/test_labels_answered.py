"""Labels that the network never learned are not scored as if it had."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.network.heads import HeadKind
from reid_audit.score.membership.answered import FEWEST, answered

MEMBERS, OTHERS = 120, 100
IS_MEMBER = np.arange(MEMBERS + OTHERS) < MEMBERS


def words_of(kind: str) -> NDArray[np.str_]:
    rng = np.random.default_rng(0)
    count = MEMBERS + OTHERS
    return {
        "classes": rng.choice(["a", "b", "c"], count),
        "rare": rng.choice(["ill", "well"], count, p=(0.08, 0.92)),
        "findings": rng.choice(["Mass", "Mass|Edema", "No Finding", "Effusion"], count),
        "numbers": rng.integers(20, 90, count).astype(np.str_),
    }[kind]


def outputs_for(kind: str, words: NDArray[np.str_], *, sure: float) -> tuple[HeadKind, Tensor]:
    """What a network says that learned ``words``, the louder the surer."""
    noise = torch.randn(len(words), 3, generator=torch.Generator().manual_seed(1))
    if kind == "numbers":
        return "regression", torch.from_numpy(words.astype(np.float32))[:, None] * sure + 20 * noise[:, :1]
    if kind == "findings":
        named = [[float(name in word) for name in ("Mass", "Edema", "Effusion")] for word in words.tolist()]
        return "sigmoid", sure * (2 * torch.tensor(named) - 1) + noise
    known = np.unique(words)
    return "softmax", sure * torch.from_numpy(words[:, None] == known).float() + noise[:, : known.size]


@pytest.mark.parametrize("kind", ["classes", "rare", "findings", "numbers"])
def test_what_was_learned_is_answered_and_other_rows_are_not(kind: str) -> None:
    words = words_of(kind)
    head, outputs = outputs_for(kind, words, sure=1.5)
    assert answered(head, outputs, words, IS_MEMBER, np.random.default_rng(0))
    others = [
        answered(head, outputs, np.random.default_rng(seed).permutation(words), IS_MEMBER, np.random.default_rng(0))
        for seed in range(12)
    ]
    assert sum(others) <= 2


def test_it_is_the_training_films_that_have_to_be_answered() -> None:
    words = words_of("classes")
    head, outputs = outputs_for("classes", words, sure=3.0)
    words[IS_MEMBER] = np.random.default_rng(2).permutation(words[IS_MEMBER])
    assert not answered(head, outputs, words, IS_MEMBER, np.random.default_rng(0))
    assert answered(head, outputs, words, ~IS_MEMBER, np.random.default_rng(0))


def test_nothing_is_said_of_few_films_and_of_labels_that_cannot_be_compared() -> None:
    words = np.random.default_rng(3).permutation(words_of("classes"))
    head, outputs = outputs_for("classes", words_of("classes"), sure=3.0)
    assert answered(head, outputs, words, np.arange(words.size) < FEWEST - 1, np.random.default_rng(0))
    assert answered(head, outputs, np.full(words.size, ""), IS_MEMBER, np.random.default_rng(0))
