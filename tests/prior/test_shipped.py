"""The shipped priors: small, declared, attributed, and honest about their films."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from reid_audit.artefacts.provenance import check_overlap
from reid_audit.prior import loading
from reid_audit.prior.gaussian import GaussianPrior
from reid_audit.prior.loading import SHIPPED, shipped_prior
from reid_audit.prior.pggan import PgganPrior, forward_flops

DATA = Path(loading.__file__).parent / "data"
KINDS: tuple[Literal["gaussian", "pggan"], ...] = ("gaussian", "pggan")


def origin_carrier(kind: Literal["gaussian", "pggan"]) -> GaussianPrior | PgganPrior:
    prior = shipped_prior(64, kind)
    assert isinstance(prior, GaussianPrior | PgganPrior)
    return prior


@pytest.mark.parametrize("kind", KINDS)
def test_declared_and_attributed(kind: Literal["gaussian", "pggan"]) -> None:
    card = shipped_prior(64, kind).card
    assert card.declared_training_sets == ("NIH ChestX-ray14 (split: prior)",)
    assert (card.images, card.patients, card.side) == (1213, 824, 64)
    attribution = (DATA / "ATTRIBUTION.md").read_text()
    for needed in (SHIPPED[kind], "https://nihcc.app.box.com/v/ChestXray-NIHCC", "CVPR 2017", "NIH Clinical Center"):
        assert needed in attribution


def test_small() -> None:
    sizes = {name: (DATA / name).stat().st_size / 1e6 for name in SHIPPED.values()}
    assert sizes[SHIPPED["gaussian"]] <= 2.5
    assert sizes[SHIPPED["pggan"]] <= 6
    network = origin_carrier("pggan")
    assert isinstance(network, PgganPrior)
    assert forward_flops(network.network.widths, network.latent_dim) <= 0.2e9


@pytest.mark.parametrize("kind", KINDS)
def test_samples_look_like_films(kind: Literal["gaussian", "pggan"]) -> None:
    prior = shipped_prior(64, kind)
    images = prior.decode(prior.sample_latents(64, torch.Generator().manual_seed(0)))
    assert images.shape == (64, 1, 64, 64)
    assert 0.4 < float(images.mean()) < 0.65
    assert 0.15 < float(images.std()) < 0.35
    lungs, mediastinum = images[:, :, 20:36, 14:24].mean(), images[:, :, 20:36, 28:36].mean()
    assert lungs + 0.05 < mediastinum


def films(folder: Path, split: str) -> tuple[Tensor, list[str]]:
    with (folder / "manifest.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == split][:60]
    pixels = [np.asarray(Image.open(folder / r["path"]).resize((64, 64), Image.Resampling.LANCZOS)) for r in rows]
    return torch.from_numpy(np.stack(pixels)).unsqueeze(1).float() / 255, [row["patient_id"] for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_films_are_known_and_others_are_not(kind: Literal["gaussian", "pggan"], real_films: Path) -> None:
    origin = origin_carrier(kind).origin
    mine, others = films(real_films, "prior")[0], films(real_films, "holdout")
    assert check_overlap(origin, mine).films == len(mine)
    assert check_overlap(origin, *others).overlap == "disjoint"
