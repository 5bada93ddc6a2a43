"""Self-checks: fresh null draws through the whole scoring pipeline, false discoveries, interval behaviour."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from phantom_cohorts import people, smooth_images
from scipy import stats

from reid_audit.judge import Case, judge
from reid_audit.records import Controls, Measured, Measurement, Metric, Outcome, Policy, find
from reid_audit.score.calibration import (
    class_conformal_p,
    familywise_p,
    holdout_needed,
    least_p,
    members_needed,
    share_interval,
    smallest_count,
    tpr_estimate,
)
from reid_audit.score.linkage import linkage
from reid_audit.score.needs import clean_chance, films_needed, needs, smallest, to_report_one
from reid_audit.score.similarity import fit_match_space

DRAWS = 500


def test_fresh_nulls_are_rejected_at_the_nominal_rate() -> None:
    """New prior, new people, new split, unequal films and new reconstructions in every draw."""
    p, hits, counts, outcomes = [], 0, 0, []
    for seed in range(DRAWS):
        rng = np.random.default_rng(10_000 + seed)
        cohort = people(30, 45, rng, films=(4, 2))
        space = fit_match_space(smooth_images(60, rng), components=40)
        images = smooth_images(16, rng)
        outcome = linkage(cohort.beside(space), images, rng, permutations=199, draws=10, shift=1)
        p.append(outcome.p)
        single, found = (find(outcome.measurements, m) for m in (Metric.SINGLE_HIT, Metric.REIDENTIFIED_PATIENTS))
        assert isinstance(single, Measured)
        assert isinstance(found, Measured)
        hits += single.value > 0
        counts += found.value > 0
        outcomes.append(_verdict(outcome.measurements))
    values = np.array(p)
    assert np.count_nonzero(values <= 0.01) <= stats.binom.ppf(0.999, DRAWS, 0.01)
    assert stats.binomtest(int(np.count_nonzero(values <= 0.1)), DRAWS, 0.1).pvalue > 1e-3
    assert stats.kstest(values, "uniform", alternative="greater").pvalue > 1e-3
    assert stats.kstest(values, "uniform").pvalue > 1e-4
    assert hits <= stats.binom.ppf(0.999, DRAWS, 0.01)
    assert counts <= stats.binom.ppf(0.999, DRAWS, 0.10)
    assert outcomes.count(Outcome.FAIL) <= stats.binom.ppf(0.999, DRAWS, 0.01)
    assert Outcome.PASS not in outcomes  # rates need 100 hold-out patients


def _verdict(linkage: tuple[Measurement, ...]) -> Outcome:
    """Under the default policy, beside clear membership figures and controls that are met."""
    met = (
        Measured(metric=Metric.MEMBERSHIP_TPR, value=0.0, low=0.0, high=0.05),
        Measured(metric=Metric.ATTACK_POWER, value=0.001),
        Measured(metric=Metric.SCORER_SENSITIVITY, value=0.9, low=0.8, high=0.95),
        Measured(metric=Metric.MEMBERSHIP_CONTROL, value=1.0),
        Measured(metric=Metric.NEGATIVE_CONTROL_P, value=0.5),
        Measured(metric=Metric.EXCHANGEABILITY_P, value=0.5),
    )
    return judge(
        Case((*linkage, *met), "0" * 64, "disjoint", True, True, True), Policy(), today=date(2026, 1, 1)
    ).outcome


def test_the_least_p_is_exact_for_dependent_statistics() -> None:
    rng = np.random.default_rng(0)
    values = []
    for _ in range(2000):
        first = rng.standard_normal(100)
        values.append(least_p(np.stack([first, 0.7 * first + 0.3 * rng.standard_normal(100)])))
    assert abs(np.mean(np.array(values) <= 0.05) - 0.05) < 0.02
    assert stats.kstest(values, "uniform", alternative="greater").pvalue > 1e-3


def test_conformal_counts_control_the_false_discovery_rate() -> None:
    """40 of 200 training patients leak; on average at most q of the reported ones did not."""
    rng = np.random.default_rng(1)
    shares, found = [], []
    for _ in range(200):
        scores = rng.standard_normal(600)
        scores[:40] += 4.0
        is_member = np.arange(600) < 200
        p = class_conformal_p(scores, is_member, np.zeros(600, dtype=np.int64))
        reported = stats.false_discovery_control(p) <= 0.10
        found.append(reported[:40].mean())
        shares.append(reported[40:].sum() / max(1, reported.sum()))
    assert np.mean(shares) <= 0.10 + 3 * np.std(shares) / 200**0.5
    assert np.mean(found) > 0.5


def test_rate_intervals_neither_fail_nor_pass_by_chance() -> None:
    """Without a leak the lower end stays under the default FAIL limit, and a blind score never looks certain."""
    rng = np.random.default_rng(2)
    lows, highs = [], []
    for _ in range(200):
        estimate = tpr_estimate(rng.standard_normal(200), rng.standard_normal(200), rng, draws=500)
        lows.append(estimate.low)
        highs.append(estimate.high)
    assert np.mean(np.array(lows) > 0.05) <= 0.01
    assert np.mean(np.array(highs) >= 0.01) > 0.97
    none = tpr_estimate(np.zeros(8), rng.standard_normal(200), rng, draws=500)
    assert none.high >= share_interval(0, 8).high > 0.3


@pytest.mark.parametrize(("hits", "n"), [(0, 8), (3, 20), (20, 20), (5, 388)])
def test_share_intervals_are_clopper_pearson(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    interval = share_interval(hits, n)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_extrapolated_hits_stay_rare_and_say_so() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(500):
        tail = familywise_p(rng.standard_normal(50), rng.standard_normal(200))
        assert tail.extrapolated
        hits += bool((tail.values <= 0.01).any())
    assert hits <= stats.binom.ppf(0.999, 500, 0.01)
    assert not familywise_p(rng.standard_normal(2), rng.standard_normal(199)).extrapolated


def test_the_calculators_agree_with_the_tests_they_describe() -> None:
    n = members_needed(0.10)
    assert share_interval(int(np.ceil(0.01 * n)), n).high <= 0.10
    assert share_interval(int(np.ceil(0.01 * (n - 1))), n - 1).high > 0.10
    members = 50
    others = holdout_needed(members, 0.10)
    assert smallest_count(members, others, 0.10) == 1
    assert smallest_count(members, others - 1, 0.10) == 2
    scores = np.r_[9.0, np.zeros(members - 1), np.linspace(0, 1, others)]
    p = class_conformal_p(scores, np.arange(scores.size) < members, np.zeros(scores.size, dtype=np.int64))
    assert np.count_nonzero(stats.false_discovery_control(p) <= 0.10) == 1


def test_what_a_policy_needs_is_what_the_tests_need() -> None:
    policy = Policy()
    table = {need.metric: need for need in needs(policy) if need.members != 2}
    rate = table[Metric.MEMBERSHIP_TPR]
    assert (rate.members, rate.others) == (members_needed(0.10), 100 + policy.controls.canaries)
    assert smallest(policy) == (rate.members, rate.others)
    assert to_report_one(policy, 50) == holdout_needed(50, policy.level) + policy.controls.canaries
    films = films_needed(policy.controls.scorer_sensitivity_low)
    assert share_interval(films, films).low >= 0.5 > share_interval(films - 1, films - 1).low
    eased = Policy(controls=Controls(canaries=4, scorer_sensitivity=False))
    assert smallest(eased) == (rate.members, 104)
    assert Metric.SCORER_SENSITIVITY not in {need.metric for need in needs(eased)}


@pytest.mark.parametrize(("members", "others"), [(54, 100), (100, 100), (200, 200)])
def test_the_chance_to_clear_bounds_what_clean_models_do(members: int, others: int) -> None:
    rng = np.random.default_rng(members)
    hits, cleared = [], []
    for _ in range(150):
        scores = rng.standard_normal(members + others)
        estimate = tpr_estimate(scores[:members], scores[members:], rng, draws=200)
        cleared.append(estimate.high <= 0.10)
        hits.append(share_interval(round(estimate.value * members), members).high <= 0.10)
    chance = clean_chance(members, others, 0.10)
    assert abs(np.mean(hits) - chance) <= 4 * (chance * (1 - chance) / 150) ** 0.5 + 0.01
    assert chance - 0.25 <= np.mean(cleared) <= chance + 0.1
