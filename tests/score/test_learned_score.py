"""The score learned on the references finds what training leaves in any column, and nothing where it left nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from reid_audit.reference.parts import parts
from reid_audit.score.calibration import auc
from reid_audit.score.membership.adjusted import adjusted
from reid_audit.score.membership.against_references import against_references
from reid_audit.score.membership.learned import learned
from reid_audit.score.membership.neighbours import neighbours
from reid_audit.score.membership.observed import Near, Observed

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def shown(films: int, count: int, gains: list[float], seed: int = 0) -> tuple[Floats, Floats, Bools, Bools]:
    """What a network and references show of films of unequal difficulty: training on one adds ``gains`` to columns."""
    rng = np.random.default_rng(seed)
    difficulty, inside = 3.0 * rng.standard_normal((films, len(gains))), parts(films, count, 0.5, rng)
    member = np.arange(films) < films // 2
    said = difficulty + np.multiply.outer(inside, gains) + rng.standard_normal((count, films, len(gains)))
    own = difficulty + np.multiply.outer(member, gains) + rng.standard_normal((films, len(gains)))
    return own, said, inside, member


def area(films: int, count: int, gains: list[float], seed: int = 0) -> float:
    own, said, inside, member = shown(films, count, gains, seed)
    score = learned(own, said, inside, ridge=1e-2)
    assert score is not None
    return auc(score[member], score[~member])


@pytest.mark.parametrize("count", [2, 4])
def test_columns_are_used_as_training_moves_them(count: int) -> None:
    alone, both = area(1000, count, [1.0, 0.0, 0.0]), area(1000, count, [1.0, -2.0, 0.0])
    assert 0.55 < alone < both - 0.1


@pytest.mark.parametrize("count", [2, 3, 4])
def test_nothing_is_said_of_a_network_that_saw_neither_side(count: int) -> None:
    """The references know films that the network never saw: who they are must not tell its cohorts."""
    own, said, inside, member = shown(2000, count, [2.0, -2.0])
    own -= np.multiply.outer(member, [2.0, -2.0])
    score = learned(own, said, inside, ridge=1e-2)
    assert score is not None
    assert abs(auc(score[member], score[~member]) - 0.5) < 0.04


def test_references_that_all_saw_the_same_teach_nothing() -> None:
    own, said, inside, _ = shown(40, 2, [1.0])
    assert learned(own, said[:1], inside[:1], ridge=1e-2) is None
    assert learned(own, said, np.zeros_like(inside), ridge=1e-2) is None


def test_a_film_is_scored_beside_its_neighbours() -> None:
    """Training moves the film itself; what it leaves alone, the neighbours say as well."""
    rng = np.random.default_rng(1)
    inside, member = parts(1000, 2, 0.5, rng), np.arange(1000) < 500

    def said(known: Bools) -> Floats:
        own = 2.0 * rng.standard_normal(1000)
        return np.stack([own + 0.5 * known, own, own]) + 0.3 * rng.standard_normal((3, 1000))

    target, references = said(member), np.stack([said(known) for known in inside])
    seen = Observed(target[0], references[:, 0], inside, Near(target, references))
    found, alone = against_references(seen), adjusted(seen)
    assert auc(found[member], found[~member]) > auc(alone[member], alone[~member]) + 0.1
    assert (against_references(replace(seen, near=None)) == alone).all()


def test_neighbours_that_say_nothing_more_are_not_weighed() -> None:
    rng = np.random.default_rng(2)
    inside = parts(1000, 2, 0.5, rng)
    references = rng.standard_normal((2, 3, 1000)) + np.multiply.outer(inside, [1.0, 0.0, 0.0]).swapaxes(1, 2)
    target = rng.standard_normal((3, 1000))
    assert neighbours(Observed(target[0], references[:, 0], inside, Near(target, references))) is None
