"""How often references recognise each patient: a few who stand out are seen beside what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reid_audit.reference.parts import parts
from reid_audit.score.membership.over_references import Success, success

PEOPLE = 600


def drawn(count: int, gain: NDArray[np.float64], seed: int = 0) -> Success | None:
    """Two films a patient of unequal difficulty; training on one adds ``gain`` [PEOPLE] to its log odds."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(PEOPLE), 2)
    inside = parts(PEOPLE, count, 0.5, rng)[:, owner]
    difficulty = rng.standard_normal(owner.size)
    said = difficulty + gain[owner] * inside + 0.5 * rng.standard_normal(inside.shape)
    return success(said, inside, np.char.add("P", owner.astype(np.str_)), np.random.default_rng(1))


def test_too_few_references_say_nothing() -> None:
    assert drawn(2, np.zeros(PEOPLE)) is None


@pytest.mark.parametrize("count", [4, 8])
@pytest.mark.parametrize("gain", [0.0, 0.5])
def test_patients_who_are_all_alike_lie_on_the_line(count: int, gain: float) -> None:
    found = drawn(count, np.full(PEOPLE, gain))
    assert found is not None
    assert sum(found.summary.counts) == PEOPLE
    assert found.share.mean() == pytest.approx(0.5, abs=0.05) if gain == 0 else found.share.mean() > 0.6
    for seen, usual in zip(found.summary.counts, found.summary.alike, strict=True):
        assert abs(seen - usual) < 5 * np.sqrt(usual + 1) + 0.03 * PEOPLE


def test_a_few_who_stand_out_are_seen_where_the_mean_is_near_chance() -> None:
    gain = np.where(np.arange(PEOPLE) < 60, 4.0, 0.0)
    found = drawn(8, gain)
    assert found is not None
    assert found.share.mean() < 0.6
    assert found.summary.counts[-1] > found.summary.alike[-1] + 20
    chosen = np.isin(found.ids, np.char.add("P", np.arange(60).astype(np.str_)))
    assert found.share[chosen].mean() > 0.95
