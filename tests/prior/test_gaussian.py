"""The Gaussian prior: full rank, the right moments, an exact inverse, the same after a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.artefacts.provenance import Declaration
from reid_audit.errors import PriorError
from reid_audit.imaging.dct import dct, inverse_dct
from reid_audit.prior.gaussian import Form, GaussianPrior, fit_gaussian, jitter
from reid_audit.prior.loading import load_prior


def smooth_images(n: int = 64, side: int = 12, seed: int = 0) -> Tensor:
    noise = torch.rand(n, 1, side // 4, side // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(side, side), mode="bicubic").clamp(0, 1)


def fitted(form: Form, **extra: int) -> GaussianPrior:
    generator = torch.Generator().manual_seed(1)
    images = smooth_images(**extra)
    return fit_gaussian(images, Declaration("toy", ("toy",)), generator, patients=9, form=form)


def test_dct_is_orthonormal() -> None:
    images = smooth_images()
    torch.testing.assert_close(inverse_dct(dct(images)), images)
    torch.testing.assert_close(dct(images).square().sum(), images.square().sum())


@pytest.mark.parametrize("form", ["exact", "pca"])
def test_moments_match_the_images(form: Form) -> None:
    images = smooth_images(n=400)
    generator = torch.Generator().manual_seed(1)
    prior = fit_gaussian(images, Declaration("toy"), generator, augment=1, form=form)
    drawn = prior.decode(prior.sample_latents(20_000, generator)).flatten(1)
    flat = images.flatten(1)
    torch.testing.assert_close(drawn.mean(0), flat.mean(0), atol=0.01, rtol=0)
    covariance, wanted = torch.cov(drawn.T), torch.cov(flat.T)
    assert (covariance - wanted).norm() < 0.15 * wanted.norm()


@pytest.mark.parametrize(("form", "dimension"), [("exact", 144), ("pca", 144 + 144)])
def test_latent_dimension(form: Form, dimension: int) -> None:
    assert fitted(form, n=200).latent_dim == dimension


@pytest.mark.parametrize("form", ["exact", "pca"])
def test_full_rank_even_with_few_images(form: Form) -> None:
    prior = fitted(form, n=8)
    matrix = prior.decode(torch.eye(prior.latent_dim)).flatten(1) - prior.mean.flatten()
    assert torch.linalg.matrix_rank(matrix.double(), rtol=1e-9) == 144


@pytest.mark.parametrize("side", [128, 256])
def test_above_96_pixels_it_stays_full_rank_without_a_square_matrix(side: int, tmp_path: Path) -> None:
    """Every image is reached, so the map is onto; and the variance along any direction has a floor."""
    generator = torch.Generator().manual_seed(1)
    images = smooth_images(n=8, side=side)
    fitted = fit_gaussian(images, Declaration("toy"), generator, augment=2)
    assert fitted.dct_std is not None
    assert fitted.factor.shape[0] < 16
    fitted.save(tmp_path / "prior.safetensors", half=True)
    prior = load_prior(tmp_path / "prior.safetensors")
    assert isinstance(prior, GaussianPrior)
    noise = torch.rand(2, 1, side, side, generator=generator)
    latents = prior.encode(noise)
    assert bool(latents.isfinite().all())
    torch.testing.assert_close(prior.decode(latents), noise, atol=2e-3, rtol=0)
    zero = torch.zeros(1, prior.latent_dim, requires_grad=True)
    direction = F.normalize(torch.randn(side * side, generator=generator), dim=0)
    (back,) = torch.autograd.grad(prior.decode(zero).flatten() @ direction, zero)
    assert prior.dct_std is not None
    assert float(back.square().sum()) >= 0.99 * float(prior.dct_std.min()) ** 2 > 0


@pytest.mark.parametrize("form", ["exact", "pca"])
def test_encode_is_the_most_probable_inverse(form: Form) -> None:
    prior = fitted(form)
    images = torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(3))
    latents = prior.encode(images)
    torch.testing.assert_close(prior.decode(latents), images, atol=2e-3, rtol=0)
    matrix = prior.decode(torch.eye(prior.latent_dim)).flatten(1) - prior.mean.flatten()
    shortest = torch.linalg.lstsq(
        matrix.T.double(), (images - prior.mean).flatten(1).T.double(), driver="gelsd"
    ).solution.T
    torch.testing.assert_close(latents.double().norm(dim=1), shortest.norm(dim=1), rtol=0.02, atol=0)


def test_auto_is_exact_when_small_and_pca_when_large() -> None:
    assert fitted("auto").dct_std is None
    assert fitted("auto", side=36).dct_std is not None


def test_decode_is_differentiable() -> None:
    prior = fitted("pca")
    latents = prior.sample_latents(2, torch.Generator().manual_seed(0)).requires_grad_()
    torch.autograd.backward(prior.decode(latents).square().sum())
    assert latents.grad is not None
    assert bool((latents.grad != 0).all())


@pytest.mark.parametrize("form", ["exact", "pca"])
def test_file_round_trip(form: Form, tmp_path: Path) -> None:
    prior = fitted(form)
    latents = prior.sample_latents(3, torch.Generator().manual_seed(0))
    for half, tolerance in ((False, 1e-6), (True, 2e-3)):
        path = tmp_path / "prior.safetensors"
        prior.save(path, half=half)
        back = load_prior(path)
        torch.testing.assert_close(back.decode(latents), prior.decode(latents), atol=tolerance, rtol=0)
        assert back.card.model_copy(update={"sha256": prior.card.sha256}) == prior.card


def test_fit_repeats_with_its_seed_and_moves_with_the_data() -> None:
    assert fitted("pca").card.sha256 == fitted("pca").card.sha256
    assert fitted("pca").card.sha256 != fitted("pca", seed=5).card.sha256


def test_jitter_is_small_but_real() -> None:
    images = smooth_images(side=32)
    moved = jitter(images, torch.Generator().manual_seed(0))
    assert 0.001 < (moved - images).abs().mean() < 0.1


@pytest.mark.parametrize("images", [torch.rand(7, 1, 8, 8), torch.rand(9, 1, 8, 7), torch.rand(9, 1, 8, 8) * 2])
def test_unusable_images_are_refused(images: Tensor) -> None:
    with pytest.raises(PriorError):
        fit_gaussian(images, Declaration("toy"), torch.Generator())
