"""Predictor files: they read as they were written, refuse what does not fit, and the shipped one is what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from phantom_cohorts import smooth_images
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from reid_audit.artefacts.provenance import Declaration, check_overlap, origin_of
from reid_audit.artefacts.storage import KEY
from reid_audit.cohort import Frame, Source, load_cohort
from reid_audit.errors import PriorError
from reid_audit.records import PreprocessSpec
from reid_audit.score.predictor_file import SHIPPED, load_predictors, save_predictors, shipped_predictors
from reid_audit.score.predictors import Predictors, fit_predictors, quality


@pytest.fixture(scope="module")
def fitted() -> Predictors:
    rng = np.random.default_rng(0)
    films = smooth_images(60, rng)
    names = np.array([f"p{i}" for i in range(60)])
    found = fit_predictors(
        films, rng.uniform(20, 80, 60), np.where(np.arange(60) % 2, "M", "F"), names,
        Declaration("ward", ("ward 7",), origin=origin_of(films, names.tolist())), torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert found is not None
    return found


def test_a_file_reads_as_what_was_fitted(fitted: Predictors, tmp_path: Path) -> None:
    save_predictors(fitted, tmp_path / "a.safetensors")
    save_predictors(fitted, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded = load_predictors(tmp_path / "a.safetensors")
    assert loaded.card.source == "given"
    assert loaded.card.declared_training_sets == ("ward 7",)
    assert loaded.card.age_mae == fitted.card.age_mae
    images = smooth_images(20, np.random.default_rng(1), 32)
    for before, after in zip(fitted.read(images), loaded.read(images), strict=True):
        assert before is not None
        assert after is not None
        assert np.allclose(before, after, atol=1e-2)


def test_only_public_films_leave_their_hashes(fitted: Predictors, tmp_path: Path) -> None:
    assert fitted.origin is not None
    save_predictors(fitted, tmp_path / "private.safetensors")
    save_predictors(replace(fitted, origin=replace(fitted.origin, public=True)), tmp_path / "public.safetensors")
    films = smooth_images(60, np.random.default_rng(0))
    private, public = (load_predictors(tmp_path / f"{kind}.safetensors") for kind in ("private", "public"))
    assert check_overlap(private.origin, films).overlap == "unknown"
    assert check_overlap(public.origin, films).overlap == "overlap"
    assert b"p17" not in (tmp_path / "private.safetensors").read_bytes()


def altered(path: Path, kind: str) -> None:
    """Write a copy of the shipped file to ``path`` with one thing wrong."""
    tensors = load_file(SHIPPED)
    header = json.loads(SHIPPED.read_bytes()[8 : 8 + int.from_bytes(SHIPPED.read_bytes()[:8], "little")])
    fields = json.loads(header["__metadata__"][KEY])
    changes: dict[str, Tensor] = {
        "shape": tensors["age.weights"][:-1].contiguous(),
        "values": torch.full_like(tensors["age.weights"], float("nan")),
        "type": tensors["age.weights"].long(),
    }
    if kind in changes:
        tensors["age.weights"] = changes[kind]
    elif kind == "missing":
        del tensors["centre"]
    elif kind == "spread":
        tensors["spread"] = torch.zeros_like(tensors["spread"])
    elif kind == "range":
        tensors["age.range"] = torch.tensor([50.0, 90.0, 10.0], dtype=torch.float64)
    elif kind == "side":
        fields["card"] = json.dumps({**json.loads(fields["card"]), "side": 10**6})
    elif kind == "card":
        fields["card"] = "{"
    elif kind == "format":
        fields["format"] = "reid-audit-prior-1"
    path.write_bytes(save(tensors, metadata={KEY: json.dumps(fields)}))


@pytest.mark.parametrize(
    "kind",
    ["shape", "values", "type", "missing", "spread", "range", "side", "card", "format", "foreign", "text", "none"],
)
def test_a_file_that_does_not_fit_is_refused_in_three_lines(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "predictor.safetensors"
    if kind == "foreign":
        save_file({"conv1.weight": torch.zeros(3)}, path)
    elif kind == "text":
        path.write_text("age = 50")
    elif kind != "none":
        altered(path, kind)
    with pytest.raises(PriorError) as refusal:
        load_predictors(path)
    assert all(refusal.value.lines())
    assert "predictor" in refusal.value.what


def test_the_shipped_predictor_is_small_declared_and_attributed() -> None:
    card = shipped_predictors().card
    assert SHIPPED.stat().st_size < 2e6
    assert card.source == "shipped"
    assert card.declared_training_sets == ("NIH ChestX-ray14 (split: prior)",)
    assert (card.images, card.patients, card.side) == (1213, 824, 64)
    assert card.measured_on == "other patients (split holdout)"
    attribution = (SHIPPED.parent / "ATTRIBUTION.md").read_text()
    for needed in (SHIPPED.name, "https://nihcc.app.box.com/v/ChestXray-NIHCC", "CVPR 2017", "NIH Clinical Center"):
        assert needed in attribution


def test_the_shipped_predictor_reads_films_as_its_card_says(real_films: Path) -> None:
    predictors = shipped_predictors()
    films = load_cohort(
        Source(real_films / "manifest.csv", {"split": "holdout"}), Frame(PreprocessSpec(), 64), "holdout"
    )
    found = quality(*predictors.read(films.images), films.ages, films.sexes)
    for name, value in found.items():
        assert getattr(predictors.card, name) == pytest.approx(value, rel=1e-3), name
    assert check_overlap(predictors.origin, films.images, films.patients.tolist()).overlap == "disjoint"
    mine = load_cohort(
        Source(real_films / "manifest.csv", {"split": "prior"}), Frame(PreprocessSpec(), 64), "reference"
    )
    assert check_overlap(predictors.origin, mine.images[:40]).films == 40
