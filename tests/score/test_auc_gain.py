"""The gain of one membership score over another, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from reid_audit.score.calibration import Bools, auc
from reid_audit.score.membership.gain import auc_gain


def drawn(rng: np.random.Generator, n: int = 200) -> tuple[np.ndarray, np.ndarray, Bools]:
    """Two related scores of the same images, the second as telling as the first."""
    is_member = np.arange(2 * n) < n
    shared = rng.normal(size=2 * n) + 0.5 * is_member
    return shared + 0.5 * rng.normal(size=2 * n), shared + 0.5 * rng.normal(size=2 * n), is_member


def test_it_is_the_difference_of_the_areas_ties_included() -> None:
    one, other, is_member = drawn(np.random.default_rng(1))
    one, other = one.round(1), other.round(1)
    areas = [auc(scores[is_member], scores[~is_member]) for scores in (one, other)]
    assert auc_gain(other, one, is_member).value == pytest.approx(areas[1] - areas[0])


def test_a_score_gains_nothing_over_itself_however_it_is_scaled() -> None:
    one, _, is_member = drawn(np.random.default_rng(2))
    gain = auc_gain(np.exp(one), one, is_member)
    assert gain.value == gain.low == pytest.approx(0.0)


def test_the_lower_end_is_above_the_truth_in_one_of_twenty() -> None:
    rng = np.random.default_rng(3)
    above = [auc_gain(other, one, is_member).low > 0 for one, other, is_member in (drawn(rng) for _ in range(600))]
    assert 0.02 < np.mean(above) < 0.09
