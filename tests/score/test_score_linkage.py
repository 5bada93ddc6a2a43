"""Linkage: planted copies are found, nulls are not, and names, film counts and order decide nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from phantom_cohorts import people, smooth_images
from scipy import stats

from benchmarks.lab.draws import People
from reid_audit.errors import CohortError
from reid_audit.records import Measured, Metric, Reason, Unmeasured, find
from reid_audit.score.linkage import LINKAGE, LinkageOutcome, attack_power, link, linkage, negative_control
from reid_audit.score.patients import Owners, pool
from reid_audit.score.similarity import fit_match_space

Floats = NDArray[np.float64]


def _audit(cohort: People, planted: int, seed: int, own: float = 0.6) -> LinkageOutcome:
    rng = np.random.default_rng(seed)
    space = fit_match_space(smooth_images(150, rng))
    images = smooth_images(24, rng)
    first = [np.flatnonzero(cohort.patients == p)[0] for p in dict.fromkeys(cohort.patients.tolist())][:planted]
    images[:planted] = own * cohort.images[first] + (1 - own) * images[:planted]
    return linkage(cohort.beside(space), images, rng, permutations=999)


def _measured(outcome: LinkageOutcome, metric: Metric) -> Measured:
    measurement = find(outcome.measurements, metric)
    assert isinstance(measurement, Measured)
    return measurement


@pytest.mark.parametrize("planted", [8, 16])
def test_planted_leaks_are_found(planted: int) -> None:
    outcome = _audit(people(16, 300, np.random.default_rng(0)), planted, seed=1)
    assert outcome.p <= 0.01
    assert _measured(outcome, Metric.REIDENTIFIED_PATIENTS).value >= planted // 2
    auc = _measured(outcome, Metric.LINKAGE_AUC)
    assert auc.low is not None
    assert auc.low > 0.5
    share = _measured(outcome, Metric.NEAREST_MEMBER_SHARE)
    assert share.control is not None
    assert share.value > 5 * share.control
    assert tuple(m.metric for m in outcome.measurements) == LINKAGE


def test_a_small_training_set_makes_single_hit_decide() -> None:
    cohort = people(2, 400, np.random.default_rng(3), films=(1, 1))
    hit = _measured(_audit(cohort, 2, seed=2, own=0.9), Metric.SINGLE_HIT)
    assert not hit.indicator
    assert hit.value >= 1
    large = _measured(_audit(people(40, 120, np.random.default_rng(4)), 8, seed=2), Metric.SINGLE_HIT)
    assert large.indicator


def test_renaming_and_reordering_change_nothing() -> None:
    rng = np.random.default_rng(5)
    cohort = people(40, 60, rng, films=(6, 4))
    scores = rng.standard_normal((12, cohort.patients.size))
    names = np.array([f"z{hash_ % 7919}-{p}" for hash_, p in enumerate(cohort.patients)])
    renamed = {p: names[i] for i, p in enumerate(cohort.patients)}
    other = np.array([renamed[p] for p in cohort.patients])
    order = rng.permutation(cohort.patients.size)

    def run(columns: NDArray[np.int64], ids: NDArray[np.str_]) -> tuple[object, ...]:
        outcome = link(
            scores[:, columns], Owners(ids, cohort.is_member).at(columns), np.random.default_rng(9),
            second=scores[:, columns], permutations=499,
        )  # fmt: skip
        return outcome.measurements

    straight = np.arange(order.size)
    assert run(straight, cohort.patients) == run(straight, other) == run(order, cohort.patients)


def test_every_patient_of_a_class_contributes_equally_many_films() -> None:
    rng = np.random.default_rng(6)
    cohort = people(100, 100, rng, films=(9, 6))
    group = pool(cohort.owners, rng.standard_normal(cohort.patients.size), rng)
    counts = np.diff(np.r_[group.starts, group.films.size])
    for label in np.unique(group.classes):
        assert np.unique(counts[group.classes == label]).size == 1
    assert np.unique(cohort.patients[group.films]).size == group.ids.size == 200
    alone = pool(cohort.owners, rng.standard_normal(cohort.patients.size), rng, most=1)
    assert alone.films.size == 200


def test_more_films_do_not_win() -> None:
    """Training patients with four films each against hold-out patients with one: no information, no flag."""
    rejected = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        patients = np.r_[np.repeat(np.arange(40), 4), 40 + np.arange(80)].astype(np.str_)
        is_member = np.r_[np.ones(160, bool), np.zeros(80, bool)]
        outcome = link(rng.standard_normal((20, 240)), Owners(patients, is_member), rng, permutations=199, draws=20)
        rejected += outcome.p <= 0.05
    assert rejected <= stats.binom.ppf(0.999, 40, 0.05)


def test_strata_remove_a_site_effect() -> None:
    """All training films from one site that matches better: flagged blindly, not flagged within sites."""
    rng = np.random.default_rng(7)
    site = np.r_[np.zeros(60), np.ones(60)].astype(int)
    is_member = np.r_[rng.random(60) < 0.8, rng.random(60) < 0.2]
    scores = rng.standard_normal((10, 120)) - 3.0 * site
    patients = np.arange(120).astype(np.str_)
    blind = link(scores, Owners(patients, is_member), np.random.default_rng(0), permutations=999)
    within = link(scores, Owners(patients, is_member, site.astype(np.str_)), np.random.default_rng(0), permutations=999)
    assert blind.p <= 0.01 < within.p


def test_a_patient_on_both_sides_is_refused() -> None:
    scores = np.zeros((2, 4))
    with pytest.raises(CohortError, match="training and the hold-out"):
        link(
            scores,
            Owners(np.array(["a", "a", "b", "c"]), np.array([True, False, True, False])),
            np.random.default_rng(0),
        )


def test_too_few_patients_leave_everything_unmeasured() -> None:
    outcome = link(
        np.zeros((2, 3)), Owners(np.array(["a", "b", "c"]), np.array([True, False, False])), np.random.default_rng(0)
    )
    assert all(isinstance(m, Unmeasured) and m.reason is Reason.TOO_FEW_REFERENCE for m in outcome.measurements)
    assert isinstance(attack_power(outcome), Unmeasured)
    assert isinstance(negative_control(outcome), Unmeasured)


def test_rates_below_100_holdout_patients_are_unmeasured() -> None:
    rng = np.random.default_rng(8)
    patients = np.arange(140).astype(np.str_)
    few = link(rng.standard_normal((5, 140)), Owners(patients, np.arange(140) < 41), rng, permutations=99)
    enough = link(rng.standard_normal((5, 140)), Owners(patients, np.arange(140) < 40), rng, permutations=99)
    assert isinstance(find(few.measurements, Metric.LINKAGE_TPR), Unmeasured)
    assert isinstance(find(enough.measurements, Metric.LINKAGE_TPR), Measured)


def test_permutations_cost_about_as_much_as_drawing_them() -> None:
    """2 to 4 times as much: a ratio of two times of one process, which another machine or load hardly moves."""
    rng = np.random.default_rng(9)
    scores: Floats = rng.standard_normal((56, 1000))
    times = [time.process_time()]
    for _ in range(9999):
        rng.permutation(1000)
    times.append(time.process_time())
    link(scores, Owners(np.arange(1000).astype(np.str_), np.arange(1000) < 500), rng, permutations=9999)
    times.append(time.process_time())
    drawing, linking = np.diff(times)
    assert linking < 50 * drawing


def test_the_patients_behind_the_count_are_named() -> None:
    """Restricted: four of 20 training patients are matched far better than anybody of 400 others."""
    rng = np.random.default_rng(12)
    scores = rng.standard_normal((30, 420))
    scores[:4, :4] += 9.0 * np.eye(4)
    outcome = link(scores, Owners(np.arange(420).astype(np.str_), np.arange(420) < 20), rng, permutations=99)
    count = find(outcome.measurements, Metric.REIDENTIFIED_PATIENTS)
    assert isinstance(count, Measured)
    assert outcome.ids is not None
    assert outcome.reported is not None
    assert outcome.patient_p is not None
    assert outcome.is_member is not None
    assert set(outcome.ids[outcome.reported].tolist()) >= {"0", "1", "2", "3"}
    assert count.value == outcome.reported.sum()
    assert np.isnan(outcome.patient_p).tolist() == (~outcome.is_member).tolist()
    assert outcome.patient_p[outcome.reported].max() <= 0.10
