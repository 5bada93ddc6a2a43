"""PGGAN training: the schedule, the split, learning, and going on after being killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.artefacts.provenance import Declaration
from reid_audit.artefacts.storage import read_prior_file
from reid_audit.budget import Meter
from reid_audit.errors import PriorError, RunStateError
from reid_audit.observer import Event, StageAdvanced
from reid_audit.prior.augmentation import augment
from reid_audit.prior.loading import load_prior
from reid_audit.prior.pggan import PgganPrior
from reid_audit.prior.recipe import TrainRecipe, rate_at, schedule
from reid_audit.prior.training import Training, TrainResult, split_by_patient, train_pggan

TINY = TrainRecipe(widths=(8, 8), latent=8, batch=8, rate=0.005, snapshot_every=20, half_life=100, coverage=0.0)
"""Without the energy distance: four kinds of toy image leave it three axes to see."""
COVERING = replace(TINY, coverage=1.0)


def blobs(n: int = 48, side: int = 8) -> tuple[Tensor, list[str]]:
    """Bright squares on dark ground at places that differ; two images per patient."""
    coarse = torch.zeros(n, 1, 2, 2)
    coarse.view(n, 4)[torch.arange(n), torch.arange(n) // 2 % 4] = 0.9
    images = F.interpolate(coarse, size=(side, side), mode="nearest")
    return images, [f"p{i // 2}" for i in range(n)]


class Killer:
    """An observer that raises at one step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def notice(self, event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.step == self.at:
            raise KeyboardInterrupt


def trained(
    out: Path,
    steps: int,
    *,
    resume: bool = False,
    killed_at: int = -1,
    seed: int = 0,
    start: PgganPrior | None = None,
    recipe: TrainRecipe = TINY,
) -> TrainResult:
    images, patients = blobs()
    return train_pggan(
        images,
        patients,
        Declaration("toy", ("toy set",)),
        Training(out, Meter(seconds=None, steps=steps), observer=Killer(killed_at), resume=resume),
        generator=torch.Generator().manual_seed(seed),
        recipe=recipe,
        start=start,
    )


def test_schedule_grows_and_fades() -> None:
    places = [schedule(i / 1000, 3, TrainRecipe(growth=2.0, fade=0.5)) for i in range(1001)]
    assert [level for level, _ in places] == sorted(level for level, _ in places)
    assert places[0] == (0, 1.0)
    assert places[-1] == (2, 1.0)
    assert [sum(level == k for level, _ in places) for k in range(3)] == [143, 286, 572]
    fading = [alpha for level, alpha in places if level == 2]
    assert fading[0] < 0.01
    assert sum(alpha < 1 for alpha in fading) == pytest.approx(286, abs=2)


def test_split_keeps_patients_together() -> None:
    patients = [f"p{i % 20}" for i in range(100)]
    held_out = split_by_patient(patients, 0.2, torch.Generator().manual_seed(0))
    assert int(held_out.sum()) == 20
    sides = [{p for p, held in zip(patients, held_out.tolist(), strict=True) if held is side} for side in (True, False)]
    assert not sides[0] & sides[1]


def test_augmentation_is_differentiable_and_keeps_the_side() -> None:
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    changed = augment(images, torch.Generator().manual_seed(1))
    torch.autograd.backward(changed.sum())
    assert changed.shape == images.shape
    assert images.grad is not None
    assert not torch.allclose(changed, images)


def test_training_lowers_the_distance_and_declares_itself(tmp_path: Path) -> None:
    result = trained(tmp_path, 200)
    assert result.curve[-1].fid < 0.75 * result.curve[0].fid
    assert result.curve[-1].side == 8
    file = read_prior_file(tmp_path / "prior.safetensors")
    assert file.card().declared_training_sets == ("toy set",)
    assert (file.card().images, file.card().patients) == (48, 24)
    assert '"seed": 0' in file.metadata["recipe"]
    assert '"fid"' in file.metadata["validation"]
    assert (tmp_path / "samples.png").exists()


def test_resumed_run_equals_the_unbroken_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", 40, recipe=COVERING)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", 40, killed_at=33, recipe=COVERING)
    resumed = trained(tmp_path / "broken", 40, resume=True, recipe=COVERING)
    assert resumed.curve == whole.curve
    assert resumed.prior.card.sha256 == whole.prior.card.sha256


def test_a_finished_run_goes_on_with_more_budget(tmp_path: Path) -> None:
    trained(tmp_path, 20)
    longer = trained(tmp_path, 80, resume=True)
    assert [point.step for point in longer.curve] == [20, 40, 60, 80]
    assert all((point.side, point.alpha) == (8, 1.0) for point in longer.curve[1:])


def test_rate_is_constant_then_falls() -> None:
    recipe = TrainRecipe(rate=0.01, settle=0.5, final_rate=0.1)
    rates = [rate_at(fraction, recipe) for fraction in (0.0, 0.5, 0.75, 1.0, 1.2)]
    assert rates == pytest.approx([0.01, 0.01, 0.0055, 0.001, 0.001])
    assert rate_at(1.0, TrainRecipe(rate=0.01, settle=0.0)) == pytest.approx(0.01)


def test_training_goes_on_from_another_prior(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", 160)
    second = trained(tmp_path / "second", 20, start=first.prior)
    assert (second.curve[0].side, second.curve[0].alpha) == (8, 1.0)
    assert second.curve[-1].fid < 0.9 * trained(tmp_path / "fresh", 20).curve[-1].fid
    assert first.prior.card.sha256 in read_prior_file(tmp_path / "second" / "prior.safetensors").metadata["recipe"]
    wide = replace(TINY, widths=(8, 12))
    with pytest.raises(PriorError, match="other widths"):
        trained(tmp_path / "wide", 20, start=first.prior, recipe=wide)


def test_resuming_other_inputs_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    with pytest.raises(RunStateError):
        trained(tmp_path, 20, resume=True, seed=1)


SCRIPT = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_training import trained
trained(Path(sys.argv[2]), 10**6)
"""


def test_survives_kill_9(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path)])
    try:
        while not (tmp_path / "state.pt").exists() and process.poll() is None:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = torch.load(tmp_path / "state.pt", weights_only=True)["steps"]
    load_prior(tmp_path / "prior.safetensors")
    result = trained(tmp_path, done + 1, resume=True)
    assert result.curve[0].step == 20
    assert result.curve[-1].step == done + 1


def test_unusable_inputs_are_refused(tmp_path: Path) -> None:
    images, patients = blobs()
    step, endless = Meter(seconds=None, steps=1), Meter(seconds=None, steps=None)
    wide = images.repeat_interleave(2, dim=-1)
    for given, people, meter in (
        (torch.rand(48, 1, 12, 12), patients, step), (wide, patients, step), (images, patients, endless),
        (images, ["one"] * 48, step),
    ):  # fmt: skip
        with pytest.raises(PriorError):
            train_pggan(
                given, people, Declaration("toy"), Training(tmp_path / "no", meter), generator=torch.Generator()
            )
