"""Priors at other sides: the right side, the right statistics, gradients and full rank."""

from __future__ import annotations

import pytest
import torch

from reid_audit.artefacts.provenance import Declaration
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.prior.loading import shipped_prior
from reid_audit.prior.pggan import Generator, initialise, prior_of
from reid_audit.prior.resampling import ResampledPrior, prior_at, resample
from reid_audit.records import PriorCard


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("side", [24, 96])
def test_shipped_gaussian_at_other_sides(side: int) -> None:
    original, prior = shipped_prior(64), shipped_prior(side)
    latents = prior.sample_latents(64, seeded()).requires_grad_()
    images = prior.decode(latents)
    assert images.shape == (64, 1, side, side)
    assert prior.card.side == side
    wanted = original.decode(original.sample_latents(64, seeded(1)))
    assert float(images.detach().std()) == pytest.approx(float(wanted.std()), rel=0.15)
    assert float(images.detach().mean()) == pytest.approx(float(wanted.mean()), abs=0.05)
    torch.autograd.backward(images.sum())
    assert latents.grad is not None


@pytest.mark.parametrize("side", [8, 20])
def test_resized_gaussian_is_full_rank_and_encodes(side: int) -> None:
    small = fit_gaussian(torch.rand(40, 1, 12, 12, generator=seeded()), Declaration("t"), seeded())
    prior = prior_at(small, side)
    assert isinstance(prior, GaussianPrior)
    images = torch.rand(2, 1, side, side, generator=seeded(2))
    torch.testing.assert_close(prior.decode(prior.encode(images)), images, atol=1e-3, rtol=0)


def test_generator_images_are_resampled() -> None:
    network = Generator(4, (4, 4))
    initialise(network, seeded())
    inner = prior_of(network, None, PriorCard(id="t", kind="pggan", sha256="0" * 64, side=8), 1, 1.0, None)
    prior = prior_at(inner, 24)
    assert isinstance(prior, ResampledPrior)
    latents = prior.sample_latents(3, seeded())
    torch.testing.assert_close(prior.decode(latents), resample(inner.decode(latents), 24))
    assert prior_at(inner, 8) is inner


def test_resampling_keeps_the_mean() -> None:
    images = torch.rand(2, 1, 32, 32, generator=seeded())
    torch.testing.assert_close(resample(images, 16).mean((2, 3)), images.mean((2, 3)))
