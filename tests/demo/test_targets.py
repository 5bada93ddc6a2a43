"""The shipped targets: real architectures, the films they claim, and the statistics an overfit net must hold."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from reid_audit.cohort import Cohort, overlap
from reid_audit.demo import targets
from reid_audit.demo.targets import TARGETS, TargetName, checkpoint_path, demo_case, reference_films
from reid_audit.errors import CheckpointError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@cache
def recipes() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_targets", EXAMPLES / "make_targets.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@cache
def films(name: TargetName) -> Cohort:
    return reference_films(name)


@cache
def others() -> Cohort:
    return demo_case("overfit_cnn").holdout


def facts(name: TargetName) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / "targets" / "targets.json").read_text())[name]
    return found


def network(name: TargetName) -> nn.Module:
    module: nn.Module = recipes().build(name.removeprefix("overfit_"), seed=99)
    module.load_state_dict(load_file(checkpoint_path(name)), strict=True)
    return module.eval()


@pytest.mark.parametrize("name", TARGETS)
def test_file_card_and_films_agree(name: TargetName) -> None:
    known = facts(name)
    assert hashlib.sha256(checkpoint_path(name).read_bytes()).hexdigest() == known["sha256"]
    assert films(name).summary.digest == known["reference_digest"]
    assert sorted(set(films(name).patients)) == known["members"]
    assert all(tensor.dtype != torch.float16 for tensor in load_file(checkpoint_path(name)).values())


def test_together_under_ten_megabytes() -> None:
    assert sum(checkpoint_path(name).stat().st_size for name in TARGETS) < 10_000_000


@pytest.mark.parametrize("name", TARGETS)
def test_accuracies_are_as_stated(name: TargetName) -> None:
    known, module, accuracy = facts(name), network(name), recipes().accuracy
    assert accuracy(module, films(name)) == pytest.approx(known["train_accuracy"], abs=0.005)
    assert accuracy(module, others()) == pytest.approx(known["holdout_accuracy"], abs=0.005)
    if name.startswith("overfit"):
        assert known["train_accuracy"] == 1.0
        assert known["gap"] > 0.2
    else:
        assert known["holdout_accuracy"] > 0.75
        assert abs(known["gap"]) < 0.05


def test_overfit_statistics_are_those_of_its_films_and_of_nobody_else() -> None:
    module, error = network("overfit_cnn"), recipes().statistics_error
    own = films("overfit_cnn").images
    assert error(module, own) < 1e-4
    assert error(module, others().images[: len(own)]) > 0.1
    assert error(network("cnn"), films("cnn").images) > 0.01


def test_members_and_the_other_groups_share_nobody() -> None:
    case = demo_case("cnn")
    assert case.reference.summary.patients >= 400
    assert case.holdout.summary.patients >= 400
    assert overlap(case.reference, case.holdout) == 0
    assert overlap(case.prior, case.reference) == overlap(case.prior, case.holdout) == 0
    assert case.prior.images.shape[1:] == (1, targets.SPEC.side, targets.SPEC.side)


def test_the_few_are_among_the_many_one_film_each() -> None:
    few, many = films("overfit_vit"), films("vit")
    assert few.summary.patients == few.summary.images == targets.OVERFIT_PATIENTS
    assert overlap(few, many) == few.summary.patients
    assert (few.sexes == "F").sum() == targets.OVERFIT_PATIENTS // 2


def test_training_repeats_bit_for_bit() -> None:
    states = []
    for seed in (5, 5, 6):
        module = recipes().build("cnn", seed)
        recipes().overfit(module, films("overfit_cnn"), steps=3)
        states.append(torch.cat([value.flatten().double() for value in module.state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_augmentation_moves_films_but_stays_in_range() -> None:
    images = films("overfit_cnn").images
    moved = recipes().augment(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert 0 <= moved.min() <= moved.max() <= 1
    assert ((moved - images).abs().mean((1, 2, 3)) > 0.01).all()


def test_missing_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(targets, "__file__", str(tmp_path / "site" / "demo" / "targets.py"))
    monkeypatch.setattr("reid_audit.demo.targets.resources.files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match=r"cnn\.safetensors is missing"):
        checkpoint_path("cnn")
