"""1:N identification: who is copied is nearest, who is not is as near as strangers, and ties identify nobody."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from phantom_cohorts import people
from scipy import stats

from reid_audit.score.calibration import Floats
from reid_audit.score.identification import RATES, Match, by_chance, cumulative_match, identification_rates, ranks
from reid_audit.score.patients import Pool, pool


def gallery(members: int, others: int, seed: int, films: tuple[int, int] = (1, 1)) -> tuple[Pool, np.random.Generator]:
    rng = np.random.default_rng(seed)
    cohort = people(members, others, rng, films=films)
    return pool(cohort.owners, rng.standard_normal(cohort.patients.size), rng), rng


def planted(people_: Pool, count: int, rng: np.random.Generator) -> Floats:
    """Scores of 12 reconstructions, the first ``count`` of which are of one training patient each."""
    scores: Floats = rng.standard_normal((12, people_.ids.size))
    scores[np.arange(count), np.flatnonzero(people_.is_member)[:count]] = 9.0
    return scores


def test_whoever_is_copied_is_identified() -> None:
    group, rng = gallery(20, 200, 0)
    first, tenth = identification_rates(ranks(planted(group, 10, rng)), group, rng, 999)
    assert first.value >= 0.5
    assert first.control is not None
    assert first.control < 0.05
    assert first.p is not None
    assert first.p <= 0.002
    assert tenth.value >= first.value
    assert (first.metric, tenth.metric) == tuple(RATES)
    assert first.n == 20


def test_the_hold_out_says_what_chance_gives() -> None:
    """No reconstruction is of anybody: the p-value of the excess is uniform, or larger where it is coarse."""
    early = 0
    for seed in range(200):
        group, rng = gallery(40, 60, seed)
        found = identification_rates(ranks(rng.standard_normal((12, 100))), group, rng, 199)
        early += found[1].p <= 0.05  # type: ignore[operator]
    assert early <= stats.binom.ppf(0.999, 200, 0.05)


def test_equal_scores_identify_nobody() -> None:
    assert ranks(np.zeros((3, 50))).min() == 50
    assert ranks(np.array([[0.3, 0.9, 0.9, 0.1]])).tolist() == [[3, 2, 2, 4]]


def test_chance_is_that_of_patients_with_as_many_films() -> None:
    group, _ = gallery(60, 60, 3, films=(4, 4))
    assert np.unique(group.classes).size > 1
    hit = group.classes == group.classes.max()  # patients with many films are always found, others never
    assert by_chance(hit, group) == pytest.approx(hit[group.is_member].mean())


def test_the_match_characteristic_rises_to_everybody() -> None:
    group, rng = gallery(20, 35, 1)
    rows = cumulative_match(ranks(planted(group, 10, rng)), group.is_member)
    assert [row.rank for row in rows] == [1, 5, 10, 20, 50]
    assert all(a.training <= b.training and a.holdout <= b.holdout for a, b in pairwise(rows))
    assert rows[-1] == Match(50, 1.0, 1.0)
