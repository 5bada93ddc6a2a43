"""Feature spaces, FID, KID and precision/recall against values known by other means."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reid_audit.artefacts.provenance import Declaration
from reid_audit.imaging.features import (
    Kind,
    fit_features,
    frechet_distance,
    kernel_distance,
)
from reid_audit.prior.gaussian import fit_gaussian


def normal(n: int, shift: float = 0.0, scale: float = 1.0, seed: int = 0, k: int = 4) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed)) * scale + shift


def squares(n: int, seed: int = 0) -> Tensor:
    """One bright square at a random place: strongly non-Gaussian."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((n, 1, 24, 24), 0.1)
    for image, (row, column) in zip(images, torch.randint(2, 14, (n, 2), generator=generator).tolist(), strict=True):
        image[:, row : row + 8, column : column + 8] = 0.9
    return images


def test_frechet_distance_of_known_gaussians() -> None:
    assert frechet_distance(normal(200_000), normal(200_000, 0.5, 2.0, 1)) == pytest.approx(4 * (0.25 + 1.0), rel=0.02)


def test_kernel_distance_is_centred_on_zero_and_sees_a_shift() -> None:
    null = [kernel_distance(normal(100, seed=i), normal(100, seed=i + 100)) for i in range(30)]
    assert abs(sum(null) / 30) < 0.05
    assert kernel_distance(normal(100), normal(100, 1.0, seed=7)) > 5 * max(map(abs, null))


@pytest.mark.parametrize("kind", ["pca", "wavelet"])
def test_features_are_white_on_their_own_images(kind: Kind) -> None:
    images = squares(200)
    features = fit_features(images, kind, dimensions=8)(images)
    torch.testing.assert_close(torch.cov(features.T), torch.eye(8), atol=0.02, rtol=0)


def test_only_the_wavelet_space_sees_what_a_gaussian_lacks() -> None:
    images, others = squares(600), squares(300, seed=1)
    generator = torch.Generator().manual_seed(2)
    prior = fit_gaussian(images, Declaration("toy"), generator, augment=1)
    drawn = prior.decode(prior.sample_latents(300, generator)).clamp(0, 1)
    excess = {}
    for kind in ("pca", "wavelet"):
        space = fit_features(images, kind, dimensions=16)
        floor = frechet_distance(space(images[:300]), space(others))
        excess[kind] = frechet_distance(space(drawn), space(others)) - floor
    assert excess["wavelet"] > 3 * excess["pca"]
