"""Films of a patient add up, and nobody is suspected for having many."""

from __future__ import annotations

import numpy as np
import pytest

from reid_audit.score.patients import evidence_by_patient, intraclass


def drawn(rho: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of 600 patients with one film and 600 with eight, correlated within a patient; owners; numbers."""
    rng = np.random.default_rng(seed)
    counts = np.repeat([1, 8], 600)
    owner = np.repeat(np.arange(counts.size), counts)
    own = rng.standard_normal(counts.size)[owner]
    return np.sqrt(rho) * own + np.sqrt(1 - rho) * rng.standard_normal(owner.size), owner, counts


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7])
def test_patients_with_many_films_are_as_spread_as_those_with_one(rho: float) -> None:
    values, owner, counts = drawn(rho, 0)
    assert intraclass(values, owner, counts) == pytest.approx(rho, abs=0.05)
    ids = np.arange(counts.size).astype(np.str_)
    found = evidence_by_patient(values, ids[owner], ids)
    assert found[counts == 8].std() / found[counts == 1].std() == pytest.approx(1.0, abs=0.1)


def test_many_films_of_a_member_say_more_than_one() -> None:
    values, owner, counts = drawn(0.2, 1)
    ids = np.arange(counts.size).astype(np.str_)
    found = evidence_by_patient(values + 1.0, ids[owner], ids)
    assert found[counts == 8].mean() > 1.5 * found[counts == 1].mean()


def test_films_of_others_play_no_role() -> None:
    patients = np.array(["a", "a", "b", "c"])
    found = evidence_by_patient(np.array([1.0, 1.0, -2.0, 50.0]), patients, np.array(["b", "a"]))
    assert found[0] == pytest.approx(-2.0)
    assert 0 < found[1] <= 2.0
