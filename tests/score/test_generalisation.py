"""The generalisation gap: measured by patient, with an interval that covers, and unmeasured where nothing tells it."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from reid_audit.judge import Case, judge
from reid_audit.records import Measured, Metric, Policy, Reason, Unmeasured
from reid_audit.score.membership.generalisation import generalisation_gap
from reid_audit.score.patients import Owners


def gap(members: float, others: float, *, seed: int = 0, people: int = 200) -> Measured:
    rng = np.random.default_rng(seed)
    chance = np.r_[np.full(people, members), np.full(people, others)]
    owners = Owners(np.arange(2 * people).astype(np.str_), np.arange(2 * people) < people)
    found = generalisation_gap((rng.random(2 * people) < chance).astype(float), owners, rng)
    assert isinstance(found, Measured)
    return found


def test_the_interval_holds_the_gap() -> None:
    held = [found.low <= 0.25 <= found.high for found in (gap(0.99, 0.74, seed=s) for s in range(40))]  # type: ignore[operator]
    assert sum(held) >= 34


def test_no_gap_is_none() -> None:
    found = gap(0.8, 0.8)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high


def test_a_patient_counts_once_however_many_films() -> None:
    owners = Owners(np.array(["a", "a", "a", "b", "c", "d"]), np.array([True] * 4 + [False] * 2))
    found = generalisation_gap(np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]), owners, np.random.default_rng(0))
    assert isinstance(found, Measured)
    assert found.value == pytest.approx(0.5)
    assert found.n == 2


def test_without_labels_there_is_none() -> None:
    owners = Owners(np.array(["a", "b"]), np.array([True, False]))
    found = generalisation_gap(None, owners, np.random.default_rng(0))
    assert found == Unmeasured(metric=Metric.GENERALISATION_GAP, reason=Reason.NO_LABELS)
    few = generalisation_gap(np.ones(2), owners, np.random.default_rng(0))
    assert isinstance(few, Unmeasured)
    assert few.reason is Reason.TOO_FEW_REFERENCE


@pytest.mark.parametrize(("low", "said"), [(0.2, True), (0.1, False)])
def test_a_large_gap_is_a_warning_beside_the_verdict(low: float, said: bool) -> None:
    found = Measured(metric=Metric.GENERALISATION_GAP, value=0.25, low=low, high=0.3, n=388)
    verdict = judge(Case((found,), "a" * 64, "disjoint", True, True, True), Policy(), today=date(2026, 1, 1))
    assert any("overfitting" in warning for warning in verdict.warnings) is said
