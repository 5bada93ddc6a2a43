"""Similarity: SSIM equals scikit-image, scorers rank a film's own copy first, duplicates collapse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from phantom_cohorts import smooth_images
from skimage.metrics import structural_similarity

from reid_audit.score.similarity import (
    Local,
    aligned_ncc,
    cosines,
    distinct,
    fit_match_space,
    match_scores,
    ncc,
    ssim,
)


@pytest.mark.parametrize("shape", [(16, 16), (32, 24), (64, 64)])
def test_ssim_equals_scikit_image(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(3, 1, *shape, generator=generator), torch.rand(3, 1, *shape, generator=generator)
    b[1] = 0.7 * a[1] + 0.3 * b[1]
    expected = [
        structural_similarity(  # type: ignore[no-untyped-call]
            x[0].double().numpy(), y[0].double().numpy(), gaussian_weights=True, data_range=1.0
        )
        for x, y in zip(a, b, strict=True)
    ]
    assert np.abs(ssim(a, b).numpy() - expected).max() < 1e-6
    assert np.abs(torch.cat([ssim(x[None], b[i : i + 1]) for i, x in enumerate(a)]).numpy() - expected).max() < 1e-6
    assert torch.allclose(ssim(a[:1], b)[0], ssim(a[:1], b[:1]))


def test_moments_of_images_serve_every_pair() -> None:
    """A table of pairs from moments that were found once, on images with flat parts, equals scikit-image on each."""
    ours, films = smooth_images(2, np.random.default_rng(0), 48), smooth_images(5, np.random.default_rng(1), 48)
    ours[0, :, :24], films[:3, :, :24], films[3], films[4] = 0.0, 0.0, 1.0, ours[1]
    left, right = Local.of(ours), Local.of(films)
    table = torch.stack([left[row : row + 1].ssim(right) for row in range(2)])
    expected = [
        [
            structural_similarity(  # type: ignore[no-untyped-call]
                x[0].double().numpy(), y[0].double().numpy(), gaussian_weights=True, data_range=1.0
            )
            for y in films
        ]
        for x in ours
    ]
    assert np.abs(table.numpy() - expected).max() < 1e-6


def test_ssim_of_colour_images_is_the_mean_over_channels() -> None:
    a, b = (torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    expected = structural_similarity(  # type: ignore[no-untyped-call]
        a[0].double().numpy(), b[0].double().numpy(), gaussian_weights=True, data_range=1.0, channel_axis=0
    )
    assert abs(float(ssim(a, b)) - expected) < 1e-6


@pytest.mark.parametrize("side", [16, 64, 96])
def test_a_noisy_copy_is_nearest_to_its_original(side: int) -> None:
    rng = np.random.default_rng(0)
    films = smooth_images(40, rng, side)
    space = fit_match_space(smooth_images(80, rng, side))
    assert space.side == min(side, 64)
    copies = (films[:10] + 0.1 * torch.randn(10, 1, side, side, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert (match_scores(space, copies, films).argmax(dim=1) == torch.arange(10)).all()
    assert (aligned_ncc(copies.roll(1, dims=-1), films).argmax(dim=1) == torch.arange(10)).all()
    own = cosines(space, films, films)
    assert torch.allclose(own.diagonal(), torch.ones(40), atol=1e-5)
    assert float(own.abs().max()) <= 1 + 1e-5


def test_hub_correction_only_shifts_rows() -> None:
    rng = np.random.default_rng(1)
    films = smooth_images(30, rng)
    space = fit_match_space(smooth_images(50, rng))
    shift = match_scores(space, films[:4], films) - cosines(space, films[:4], films)
    assert torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-6)
    best = cosines(space, films[:4], films).topk(10, dim=1).values.mean(dim=1)
    assert torch.allclose(-shift[:, 0], best, atol=1e-6)


def test_the_space_is_square_root_whitened() -> None:
    images = smooth_images(400, np.random.default_rng(2))
    space = fit_match_space(images, components=40)
    deviations = space.scores(images).std(dim=0)
    plain = (images.flatten(1) - space.mean) @ torch.nn.functional.normalize(space.axes, dim=1).T
    assert torch.allclose(deviations**2, plain.std(dim=0), rtol=1e-2)


def test_duplicates_collapse_to_the_first() -> None:
    images = smooth_images(6, np.random.default_rng(3))
    doubled = torch.cat([images, 0.5 * images + 0.1, images])
    assert distinct(doubled).tolist() == list(range(6))
    assert float(ncc(images, 0.5 * images + 0.1).diagonal().min()) > 0.999
