"""The energy distance sees what a discriminator forgives: a generator that draws few kinds of image."""

from __future__ import annotations

import torch
from torch import Tensor

from reid_audit.imaging.features import energy_distance, fit_features
from reid_audit.prior.coverage import Coverage


def films(n: int, seed: int) -> Tensor:
    """Smooth random images [n, 1, 16, 16] in [0, 1]."""
    coarse = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")


def test_energy_distance_is_zero_only_for_one_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(400, 3, generator=generator), torch.randn(400, 3, generator=generator)
    assert abs(float(energy_distance(a, b))) < 0.03
    assert float(energy_distance(a, b + 1)) > 0.3
    assert float(energy_distance(a, 2 * b)) > 0.1


def test_few_kinds_are_far_however_real_each_is() -> None:
    coverage = Coverage.of(films(300, 0), torch.device("cpu"))
    fresh = films(64, 1)
    few = films(300, 0)[:4].repeat(16, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    assert float(coverage(few, generator)) > float(coverage(fresh, generator)) + 1.0


def test_coverage_has_a_finite_gradient() -> None:
    images = films(32, 2).requires_grad_()
    torch.autograd.backward(Coverage.of(films(300, 0), torch.device("cpu"))(images, torch.Generator().manual_seed(0)))
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())
    assert float(images.grad.abs().max()) > 0


def test_random_features_are_the_same_each_time_and_not_the_wavelets() -> None:
    images = films(100, 0)
    first, second, wavelet = (
        fit_features(images, kind, dimensions=8)(images) for kind in ("random", "random", "wavelet")
    )
    assert torch.equal(first, second)
    assert not torch.allclose(first, wavelet, atol=0.1)
