"""Scores against reference models: right where the truth is known, and blind to what they must not see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from reid_audit.reference.parts import parts
from reid_audit.score.calibration import auc
from reid_audit.score.membership.adjusted import adjusted
from reid_audit.score.membership.against_references import against_references
from reid_audit.score.membership.lira import lira
from reid_audit.score.membership.loss_difference import loss_difference
from reid_audit.score.membership.observed import Observed
from reid_audit.score.membership.rmia import rmia

Floats = NDArray[np.float64]
SCORES = (lira, rmia, loss_difference, adjusted, against_references)


def simulated(films: int, count: int, gain: float, *, seed: int = 0) -> tuple[Observed, NDArray[np.bool_]]:
    """Films of very unequal difficulty; training on one adds ``gain`` to its log odds. And who was in training."""
    rng = np.random.default_rng(seed)
    difficulty, inside = 3.0 * rng.standard_normal(films), parts(films, count, 0.5, rng)
    member = np.arange(films) < films // 2
    said = difficulty + gain * inside + 0.7 * rng.standard_normal(inside.shape)
    return Observed(difficulty + gain * member + 0.7 * rng.standard_normal(films), said, inside), member


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_references_tell_what_difficulty_hides(score: Callable[[Observed], Floats], count: int) -> None:
    seen, member = simulated(2000, count, 1.5)
    alone = auc(seen.target[member], seen.target[~member])
    found = score(seen)
    assert auc(found[member], found[~member]) > alone + 0.05


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_nothing_is_said_of_a_network_that_saw_neither_side(score: Callable[[Observed], Floats], count: int) -> None:
    seen, member = simulated(4000, count, 0.0)
    found = score(seen)
    assert np.isfinite(found).all()
    assert abs(auc(found[member], found[~member]) - 0.5) < 0.03


def test_more_references_tell_more() -> None:
    found = []
    for count in (1, 2, 8, 32):
        seen, member = simulated(4000, count, 1.0)
        scores = against_references(seen)
        found.append(auc(scores[member], scores[~member]))
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.03


def test_a_film_that_every_reference_saw_is_still_scored() -> None:
    seen, _ = simulated(400, 4, 1.5)
    inside = seen.inside.copy()
    inside[:, :20], inside[:, 20:40] = True, False
    for score in SCORES:
        assert np.isfinite(score(Observed(seen.target, seen.references, inside))).all()


def test_rmia_is_the_ratio_to_the_mean_of_both_kinds() -> None:
    odds = np.log(np.array([[0.5 / 0.5], [0.2 / 0.8]]))
    seen = Observed(np.log(np.array([0.7 / 0.3])), odds, np.array([[True], [False]]))
    assert rmia(seen) == pytest.approx([np.log(0.7 / 0.35)])
    offline = Observed(seen.target, odds[1:], np.array([[False]]))
    assert rmia(offline) == pytest.approx([np.log(0.7 / (0.5 * (1.3 * 0.2 + 0.7)))])


def test_lira_is_the_likelihood_ratio() -> None:
    """Two films, two references with and two without: means 2 and 0, both deviations sqrt 2."""
    inside = np.array([[True, True], [True, True], [False, False], [False, False]])
    said = np.array([[1.0, 1.0], [3.0, 3.0], [-1.0, -1.0], [1.0, 1.0]])
    seen = Observed(np.array([2.0, 0.0]), said, inside)
    assert lira(seen) == pytest.approx([1.0, -1.0])


def test_halves_are_dealt_out_evenly_and_blindly() -> None:
    inside = parts(101, 8, 0.5, np.random.default_rng(1))
    assert set(inside.sum(axis=1)) <= {50, 51}
    assert (inside.sum(axis=0) == 4).all()
    assert not (inside[0] & inside[1]).any()
    assert (parts(101, 4, 0.5, np.random.default_rng(1)) == inside[:4]).all()


def test_a_small_training_set_gets_small_parts() -> None:
    inside = parts(400, 8, 0.1, np.random.default_rng(2))
    assert set(inside.sum(axis=1)) == {40}
    assert inside.sum(axis=0).max() == 1
    assert parts(10, 2, 0.9, np.random.default_rng(3)).sum() == 10
