"""Likely samples: counted below the control's percentile, compared with people at matched numbers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from phantom_cohorts import people, smooth_images

from benchmarks.lab.draws import Drawn
from reid_audit.records import Measured, Metric, Reason, Unmeasured, find
from reid_audit.score.likelihood import (
    LIKELY,
    LikelyOutcome,
    likely_indices,
    likely_samples,
    matched_nearest,
    nearest_weights,
    screening_samples,
)
from reid_audit.score.similarity import fit_match_space


def _measured(outcome: LikelyOutcome, metric: Metric) -> Measured:
    measurement = find(outcome.measurements, metric)
    assert isinstance(measurement, Measured)
    return measurement


def test_only_distinct_images_below_the_controls_percentile_are_likely() -> None:
    images = smooth_images(6, np.random.default_rng(0))
    doubled = torch.cat([images, images[:2]])
    energies = torch.tensor([3.0, 1.0, 2.0, 50.0, 99.0, 0.5, 2.5, 0.9])
    control = torch.linspace(10, 100, 200)
    assert likely_indices(doubled, energies, control).tolist() == [5, 7, 2, 6]
    assert likely_indices(doubled, energies + 100, control).size == 0
    assert likely_indices(doubled, energies, control[:0]).size == 0


def test_matched_weights_are_the_average_over_all_subsets() -> None:
    rng = np.random.default_rng(1)
    values = np.sort(rng.random(7))[::-1]
    for m in (1, 3, 7):
        expected = np.mean([max(values[list(c)]) for c in combinations(range(7), m)])
        weights = nearest_weights(7, m)
        assert weights.sum() == pytest.approx(1.0)
        assert weights[:7] @ values == pytest.approx(expected)


@pytest.mark.parametrize("sides", [(300, 300), (20, 580), (500, 100)])
def test_whoever_is_left_out_would_have_weighed_nothing(sides: tuple[int, int]) -> None:
    """The chances of the nearest, beside those of all patients from the definition."""
    rng = np.random.default_rng(5)
    members, everybody = sides[0], sum(sides)
    labels = np.stack([rng.permutation(everybody) < members for _ in range(20)])
    near = rng.standard_normal((3, everybody))
    matched = min(sides)
    for row, (order, in_t, in_h) in zip(near, matched_nearest(near, labels), strict=True):
        assert order.tolist() == np.argsort(-row, kind="stable")[: order.size].tolist()
        for label, of_t, of_h in zip(labels, in_t, in_h, strict=True):
            for side, chances, count in ((label, of_t, members), (~label, of_h, everybody - members)):
                whole = nearest_weights(count, matched)[:count]
                best = np.sort(row[side])[::-1]
                assert chances @ row[order] == pytest.approx(whole @ best, abs=1e-9)
    assert sides[0] != sides[1] or order.size < everybody / 4


def _run(members: int, others: int, leaked: int, seed: int) -> LikelyOutcome:
    rng = np.random.default_rng(seed)
    cohort = people(members, others, rng)
    images = smooth_images(20, rng)
    films = [np.flatnonzero(cohort.patients == p)[0] for p in dict.fromkeys(cohort.patients.tolist())][:leaked]
    images[:leaked] = 0.8 * cohort.images[films] + 0.2 * images[:leaked]
    compared = cohort.beside(fit_match_space(smooth_images(100, rng), components=40))
    made, control = Drawn(images, torch.full((20,), -1.0)), Drawn(images, torch.zeros(20))
    return likely_samples(compared, made, control, rng, permutations=99)


def _excess_breaches(outcome: LikelyOutcome, metric: Metric, limit: float) -> bool:
    measurement = _measured(outcome, metric)
    assert measurement.low is not None
    assert measurement.control is not None
    return measurement.low - measurement.control > limit


@pytest.mark.parametrize("sides", [(60, 60), (12, 120), (120, 30)])
def test_optimised_images_that_are_nobodys_breach_nothing(sides: tuple[int, int]) -> None:
    """Every image beats the control's energy; still the default limits hold, whichever side is larger."""
    breached = 0
    for seed in range(10):
        outcome = _run(*sides, 0, seed)
        assert tuple(m.metric for m in outcome.measurements) == LIKELY
        breached += _excess_breaches(outcome, Metric.NEAREST_SSIM, 0.05)
        breached += _excess_breaches(outcome, Metric.NEAREST_NN, 0.05)
        breached += _excess_breaches(outcome, Metric.LIKELY_SAMPLES, 5.0)
    assert breached <= 1


def test_copies_of_training_films_breach() -> None:
    outcome = _run(16, 120, 16, 0)
    assert _excess_breaches(outcome, Metric.NEAREST_SSIM, 0.05)
    assert _excess_breaches(outcome, Metric.NEAREST_NN, 0.05)
    assert _excess_breaches(outcome, Metric.LIKELY_SAMPLES, 5.0)
    assert _measured(outcome, Metric.LIKELY_SAMPLES).n == outcome.indices.size == outcome.films.size


def test_without_likely_samples_there_is_nothing_to_compare() -> None:
    rng = np.random.default_rng(2)
    cohort = people(10, 10, rng)
    compared, images = cohort.beside(fit_match_space(smooth_images(50, rng))), smooth_images(5, rng)
    outcome = likely_samples(compared, Drawn(images, torch.ones(5)), Drawn(images, torch.zeros(5)), rng)
    assert _measured(outcome, Metric.LIKELY_SAMPLES).value == 0
    assert isinstance(find(outcome.measurements, Metric.NEAREST_SSIM), Unmeasured)


def test_without_films_the_count_is_an_indicator() -> None:
    rng = np.random.default_rng(3)
    space, images = fit_match_space(smooth_images(100, rng), components=40), smooth_images(5, rng)
    outcome = screening_samples(space, Drawn(images, torch.zeros(5)), Drawn(smooth_images(50, rng), torch.ones(50)))
    count = _measured(outcome, Metric.LIKELY_SAMPLES)
    assert count.indicator
    assert count.value == 5
    missing = find(outcome.measurements, Metric.NEAREST_NN)
    assert isinstance(missing, Unmeasured)
    assert missing.reason is Reason.NO_REFERENCE


def test_with_training_films_alone_likenesses_are_indicators_beside_untuned_samples() -> None:
    rng = np.random.default_rng(4)
    space, films, control = (fit_match_space(smooth_images(100, rng), components=40), *_two(rng))
    null = Drawn(control, torch.ones(50))
    copies = 0.8 * films[:6] + 0.2 * smooth_images(6, rng)
    found = screening_samples(space, Drawn(copies, torch.zeros(6)), null, films)
    blind = screening_samples(space, Drawn(smooth_images(6, rng), torch.zeros(6)), null, films)
    for metric in (Metric.NEAREST_SSIM, Metric.NEAREST_NN):
        seen, chance = _measured(found, metric), _measured(blind, metric)
        assert seen.indicator
        assert seen.control is not None
        assert chance.control is not None
        assert seen.value > seen.control + 0.2
        assert abs(chance.value - chance.control) < 0.15
    assert sorted(found.films.tolist()) == [0, 1, 2, 3, 4, 5]


def _two(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return smooth_images(40, rng), smooth_images(50, rng)
