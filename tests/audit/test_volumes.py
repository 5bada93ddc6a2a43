"""A 3-D ResNet with BatchNorm, audited on sheets of slices as docs/how-to/volumes.md says."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from audits import DEVICE
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import reid_audit
from reid_audit.api import Options
from reid_audit.records import Budget, Controls, Measured, Metric, Policy, References, find

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "volumes.py"
MEMBERS, OTHERS = 24, 108


def volumes(count: int, seed: int) -> NDArray[np.float32]:
    """[N, 20, 24, 24] in [0, 1]: clouds on several scales."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.full((count, 1, 20, 24, 24), 0.5)
    for cells in (2, 4, 8, 16):
        noise = torch.rand(count, 1, cells, cells, cells, generator=generator) - 0.5
        found = found + 1.4 / cells * functional.interpolate(noise, (20, 24, 24), mode="trilinear")
    return np.asarray(found[:, 0].clamp(0, 1).numpy())


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example under a name of its own in the working folder, as a user copies it."""
    shutil.copy(EXAMPLE, tmp_path / "copied_volumes.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("copied_volumes", None)
    return import_module("copied_volumes")


def sheets(example: ModuleType, name: str, count: int, seed: int) -> Path:
    np.savez(f"{name}_volumes.npz", volumes=volumes(count, seed))
    example.write(Path(f"{name}_volumes.npz"), Path(f"{name}.npz"))
    return Path(f"{name}.npz")


def test_a_sheet_holds_the_slices_in_order(example: ModuleType) -> None:
    small = torch.rand(2, 9, 5, 5)
    assert torch.equal(example.to_volumes(example.to_sheets(small)[:, None], 9)[:, 0], small)
    assert torch.equal(example.to_sheets(small)[1, :5, 5:10], small[1, 1])
    with pytest.raises(ValueError, match="no square sheet"):
        example.to_sheets(torch.rand(1, 8, 5, 5))


def test_a_folder_of_nifti_files_gives_the_sheets_of_the_same_volumes_in_an_npz(example: ModuleType) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not here")
    sheets(example, "train", 3, 0)
    folder = Path("nifti")
    folder.mkdir()
    for number, volume in enumerate(volumes(3, 0)):
        nibabel.save(nibabel.Nifti1Image(volume.T, np.eye(4)), folder / f"volume_{number}.nii.gz")
    example.write(folder, Path("of_nifti.npz"))
    assert np.array_equal(np.load("of_nifti.npz")["images"], np.load("train.npz")["images"])


def test_training_volumes_are_recognised(example: ModuleType) -> None:
    reference, holdout, prior = (
        sheets(example, name, count, seed)
        for seed, (name, count) in enumerate((("train", MEMBERS), ("holdout", OTHERS), ("public", 96)))
    )
    trained(example, torch.from_numpy(np.load(reference)["images"]))
    policy = Policy(
        budget=Budget(steps=4, particles=(4,)),
        demographics="off",
        controls=Controls(canaries=4),
        references=References(when="off"),
    )
    options = Options(
        prior=prior,
        side=64,
        preprocess="half",
        arch_factory="copied_volumes:network",
        indicators_only=True,
        device=DEVICE,
    )
    result = reid_audit.check("model.pt", reference, holdout, policy=policy, **options)
    area, fit = (find(result.measurements, metric) for metric in (Metric.MEMBERSHIP_AUC, Metric.PREPROCESS_FIT))
    assert isinstance(area, Measured)
    assert area.value > 0.9
    assert isinstance(fit, Measured)
    assert fit.value < 1.0
    assert result.verdict.outcome.value == "fail"


def trained(example: ModuleType, images: Tensor) -> None:
    """Save a network whose statistics are those of sheets ``images``, as training leaves them."""
    torch.manual_seed(0)
    module: nn.Module = example.network().train()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.momentum = 1.0
    with torch.no_grad():
        module(images[:, None].float() / 127.5 - 1.0)
    torch.save(module.get_submodule("network").state_dict(), "model.pt")
