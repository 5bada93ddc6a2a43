"""Distribution metrics against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from phantom_cohorts import smooth_images

from reid_audit.records import Measured, Metric, Reason, Unmeasured, find
from reid_audit.score.distribution import (
    Components,
    distribution,
    features,
    frechet,
    kernel_distance,
    pca_kurtosis,
    pixel_entropy,
)


def test_entropy_of_known_histograms() -> None:
    assert pixel_entropy(torch.full((2, 1, 4, 4), 0.3)) == 0.0
    assert pixel_entropy(torch.tensor([0.0, 1.0]).repeat(8).view(1, 1, 4, 4)) == pytest.approx(1.0)
    assert pixel_entropy((torch.arange(256) / 255).view(1, 1, 16, 16)) == pytest.approx(8.0)


def test_frechet_distance_of_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40_000, 4))
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-8)
    shifted = 2.0 * rng.standard_normal((40_000, 4)) + 1.0
    assert frechet(a, shifted) == pytest.approx(4 * 1.0 + 4 * 1.0, rel=0.03)
    assert abs(kernel_distance(a[:500], a[500:1000])) < 0.2 < kernel_distance(a[:500], shifted[:500])


def test_kurtosis_is_near_zero_for_gaussian_images_and_positive_for_heavy_tails() -> None:
    rng = np.random.default_rng(1)
    gaussian = torch.from_numpy(rng.standard_normal((3000, 1, 4, 4)).astype(np.float32))
    heavy = torch.from_numpy(rng.standard_t(5, (3000, 1, 4, 4)).astype(np.float32))
    components = Components.of(gaussian)
    value, k = pca_kurtosis(gaussian, components)
    assert k == 50
    assert abs(value) < 0.2 < pca_kurtosis(heavy, components)[0]
    assert pca_kurtosis(gaussian[:100], Components.of(gaussian[:100]))[1] == 10


def test_features_are_white_on_the_prior() -> None:
    images = smooth_images(500, np.random.default_rng(2))
    rows = features(images, Components.of(images))
    assert rows.shape == (500, 64)
    assert rows.std(axis=0) == pytest.approx(np.ones(64), rel=0.02)


def test_every_metric_is_there_with_its_floor() -> None:
    rng = np.random.default_rng(3)
    prior = smooth_images(300, rng)
    reference = 1.0 - 0.5 * smooth_images(120, rng)
    closer = 0.5 * smooth_images(150, rng) + 0.25
    result = distribution(prior, prior, closer, reference, rng)
    assert len(result) == 9
    far, near = (find(result, m) for m in (Metric.FID_PRIOR_REFERENCE, Metric.FID_PRIOR_TUNED))
    assert isinstance(far, Measured)
    assert isinstance(near, Measured)
    assert far.control is not None
    assert far.value > far.control > 0
    assert near.n == 150


def test_the_floor_is_that_of_as_many_images() -> None:
    rng = np.random.default_rng(5)
    prior, films = smooth_images(300, rng), smooth_images(60, rng)
    space = Components.of(prior)
    pairs = [[features(smooth_images(60, rng), space) for _ in range(2)] for _ in range(10)]
    true = np.mean([frechet(one, other) for one, other in pairs])
    found = find(distribution(prior, prior, None, films, rng), Metric.FID_PRIOR_REFERENCE)
    assert isinstance(found, Measured)
    assert found.n == 60
    assert found.control == pytest.approx(true, rel=0.25)
    rows = features(films, space)
    assert frechet(rows[:30], rows[30:]) > 1.4 * true, "halves of the films are further apart"


def test_missing_sets_say_why() -> None:
    rng = np.random.default_rng(4)
    prior = smooth_images(100, rng)
    result = distribution(prior, prior, None, None, rng)
    for metric, reason in (
        (Metric.FID_PRIOR_TUNED, Reason.NO_GENERATOR),
        (Metric.FID_PRIOR_REFERENCE, Reason.NO_REFERENCE),
        (Metric.PIXEL_ENTROPY_REFERENCE, Reason.NO_REFERENCE),
    ):
        missing = find(result, metric)
        assert isinstance(missing, Unmeasured)
        assert missing.reason is reason
    few = find(distribution(prior, prior, None, prior[:8], rng), Metric.PCA_KURTOSIS_REFERENCE)
    assert isinstance(few, Unmeasured)
    assert few.reason is Reason.TOO_FEW_REFERENCE
