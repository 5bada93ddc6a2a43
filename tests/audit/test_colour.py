"""Images in colour: read with three channels before a network that takes colours, beside a prior in colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from audits import DEVICE
from numpy.typing import NDArray
from skimage import data
from torch.nn import functional

import reid_audit
from reid_audit.api import Options
from reid_audit.cohort import RawFilm
from reid_audit.errors import PriorError
from reid_audit.network.search import STAGE
from reid_audit.observer import Event, StageStarted
from reid_audit.records import Budget, Controls, Measured, Metric, Outcome, Policy, References, find

SIDE, MEMBERS, OTHERS = 48, 12, 108
MEAN, STD = (0.7, 0.5, 0.45), (0.16, 0.14, 0.15)
"""Values a dermoscopy classifier may have been trained with."""
POLICY = Policy(
    budget=Budget(steps=4, particles=(4,)),
    demographics="off",
    controls=Controls(canaries=4),
    references=References(when="off"),
)
OPTIONS = Options(indicators_only=True, device=DEVICE, side=SIDE)


def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """[N, 3, SIDE, SIDE]: blotches on skin whose colours lie on several scales."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.tensor([0.55, 0.3, 0.2]).view(1, 3, 1, 1) + torch.zeros(count, 3, SIDE, SIDE)
    for cells in (2, 4, 8, 16, 48):
        noise = torch.rand(count, 3, cells, cells, generator=generator)
        images = images + 1.2 / cells * functional.interpolate(noise, (SIDE, SIDE), mode="bicubic")
    return np.asarray((255 * images.clamp(0, 1)).round().to(torch.uint8).numpy())


def remembering(images: NDArray[np.uint8]) -> torch.nn.Module:
    """A small network whose statistics are those of ``images``."""
    torch.manual_seed(1)
    module: torch.nn.Module = timm.create_model("test_efficientnet", num_classes=2).train()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (MEAN, STD))
    with torch.no_grad():
        module((torch.from_numpy(images) / 255 - mean) / std)
    return module.eval()


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """A network whose statistics are those of the members."""
    return remembering(pictures(MEMBERS, 1))


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    np.savez(tmp_path / "public.npz", images=pictures(64, 3))
    return tmp_path / "public.npz"


def test_a_network_of_colours_is_asked_in_colour(network: torch.nn.Module, prior: Path) -> None:
    options = Options(prior=prior, indicators_only=True, device=DEVICE, side=SIDE)
    result = reid_audit.check(network, pictures(MEMBERS, 1), pictures(OTHERS, 2), policy=POLICY, **options)
    assert result.prior.channels == 3
    assert result.preprocess.resize_to is None
    assert np.allclose(result.preprocess.mean, MEAN, atol=0.07)
    assert np.allclose(result.preprocess.std, STD, rtol=0.25)
    area, fit = (find(result.measurements, metric) for metric in (Metric.MEMBERSHIP_AUC, Metric.PREPROCESS_FIT))
    assert isinstance(area, Measured)
    assert area.value > 0.95
    shown = result.preprocess_fitting_training_films
    assert shown is not None
    assert np.allclose(shown.mean, MEAN, atol=0.01)
    assert np.allclose(shown.std, STD, rtol=0.05)
    assert isinstance(fit, Measured)
    assert fit.control is not None
    assert fit.control < 0.001


TILE = 32
"""Pixels of the edge of a tile."""


@pytest.mark.parametrize("picture", [data.immunohistochemistry, data.retina], ids=["histology", "fundus"])
def test_real_tissue_is_recognised_with_nothing_declared(picture: Callable[[], NDArray[np.uint8]]) -> None:
    """Tiles of a picture that scikit-image ships, each a patient of its own: 32 known, 112 others, 112 public."""
    whole = picture()
    top, left = (edge // 2 - 256 for edge in whole.shape[:2])
    middle = whole[top : top + 512, left : left + 512]
    tiles = middle.reshape(16, TILE, 16, TILE, 3).transpose(0, 2, 4, 1, 3).reshape(256, 3, TILE, TILE)
    tiles = tiles[np.random.default_rng(0).permutation(len(tiles))]
    known, others, public = np.split(tiles, [32, 144])
    options = Options(prior=public, indicators_only=True, device=DEVICE, side=TILE)
    result = reid_audit.check(remembering(known), known, others, policy=POLICY, **options)
    assert result.prior.channels == 3
    assert np.allclose(result.preprocess.mean, MEAN, atol=0.07)
    area = find(result.measurements, Metric.MEMBERSHIP_AUC)
    assert isinstance(area, Measured)
    assert area.value > 0.8
    assert result.verdict.outcome is Outcome.FAIL


def test_the_shipped_prior_of_grey_films_is_refused_beside_colours(network: torch.nn.Module) -> None:
    stages: list[str] = []

    class Watching:
        def notice(self, event: Event) -> None:
            if isinstance(event, StageStarted):
                stages.append(event.stage)

    with pytest.raises(PriorError, match="in colour") as refused:
        reid_audit.check(
            network, pictures(MEMBERS, 1), pictures(OTHERS, 2), policy=POLICY, observer=Watching(), **OPTIONS
        )
    assert STAGE not in stages, "refused before the search"
    assert "--colour" in refused.value.remedy


def film(pixels: NDArray[Any]) -> RawFilm:
    return RawFilm(pixels, "8-bit", 8, 0.0, 255.0)


def test_grey_films_saved_in_three_channels_are_grey() -> None:
    grey = np.random.default_rng(0).integers(0, 250, (64, 64), dtype=np.uint8)
    noisy = np.stack([grey, grey + 2, grey], axis=2)  # as the chroma of a JPEG
    assert not film(grey).in_colour()
    assert not film(noisy).in_colour()
    assert not film(np.zeros((8, 8, 3), np.uint8)).in_colour()
    assert film(pictures(1, 1)[0].transpose(1, 2, 0)).in_colour()
