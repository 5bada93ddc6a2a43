"""The public functions: images and modules in memory take the same way as files, and leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from declared import PREPROCESS, SIDE
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

import reid_audit
from reid_audit.api import Options, _asked
from reid_audit.cohort import Frame, Source, load_cohort
from reid_audit.cohort.memory import Images, write_source
from reid_audit.errors import AuditError, CheckpointError, CohortError, PolicyError
from reid_audit.observer import Event, StageStarted
from reid_audit.records import Budget, Controls, Metric, Policy, PreprocessSpec, References

POLICY = Policy(
    budget=Budget(steps=4, particles=(4,)),
    preprocess=PREPROCESS,
    demographics="off",
    controls=Controls(canaries=4, preprocess_fit=False),
    references=References(when="off"),
)


def films(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Films [N, H, W] that differ from one another."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a policy, and the place of temporary files, which has to be empty in the end."""
    work, place = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    place.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    module: torch.nn.Module = timm.create_model("test_efficientnet", num_classes=2).train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.rand(8, 3, SIDE, SIDE))
    return module.eval()


def test_the_package_is_imported_without_torch() -> None:
    asked = "import sys, reid_audit; assert 'torch' not in sys.modules; assert callable(reid_audit.check)"
    subprocess.run([sys.executable, "-c", asked], check=True)
    with pytest.raises(AttributeError):
        _ = reid_audit.chekc


def test_a_module_in_memory_is_known_by_its_weights(here: Path, network: torch.nn.Module) -> None:
    found = reid_audit.inspect(network)
    assert found["networks"][0].match is not None
    assert found["networks"][0].match.name == "test_efficientnet"
    assert not list(here.iterdir())


def test_images_in_memory_and_in_files_give_the_same_figures(here: Path, network: torch.nn.Module) -> None:
    members, others = films(12, 1), films(24, 2)
    np.savez("members.npz", images=members)
    np.savez("others.npz", images=others)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, "network.safetensors")
    options = Options(indicators_only=True, device="cpu")
    shown: list[str] = []

    class Watching:
        def notice(self, event: Event) -> None:
            shown.extend([event.stage] if isinstance(event, StageStarted) else [])

    memory = reid_audit.check(network, members, torch.from_numpy(others), policy=POLICY, observer=Watching(), **options)
    disk = reid_audit.check("network.safetensors", "members.npz", Path("others.npz"), policy=POLICY, **options)
    assert memory.cohorts[0].digest == disk.cohorts[0].digest
    assert memory.measurements == disk.measurements
    assert memory.verdict.outcome == disk.verdict.outcome
    assert {row.metric for row in memory.measurements} >= {Metric.MEMBERSHIP_AUC, Metric.PREPROCESS_FIT}
    assert ("reference", "(in memory)") in memory.options
    assert any("preflight" in stage for stage in shown)
    assert not list(here.iterdir())
    assert memory.verdict.outcome.value in reid_audit.render(memory, "markdown").casefold()
    assert json.loads(reid_audit.render(memory, "json"))


def test_what_the_command_refuses_is_raised_before_the_attack(here: Path, network: torch.nn.Module) -> None:
    shared = films(12, 1)
    with pytest.raises(CohortError, match="both"):
        reid_audit.check(network, shared, np.concatenate([shared[:2], films(20, 2)]), policy=POLICY)
    with pytest.raises(PolicyError, match="unit"):
        reid_audit.check(network, shared, films(20, 2), budget="3")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"sied": 64}, "sied"),
        ({"dry_run": True}, "dry_run"),
        ({"side": 5000}, "side"),
        ({"repeats": 0}, "repeats"),
        ({"seed": -1}, "seed"),
        ({"budget": 0.0}, "budget"),
        ({"formats": ("word",)}, "word"),
    ]
    for given, said in wrong:
        with pytest.raises(PolicyError, match=said):
            reid_audit.check(network, shared, films(20, 2), **given)
    with pytest.raises(CheckpointError, match="OrderedDict"):
        reid_audit.check(network.state_dict(), shared, films(20, 2))  # type: ignore[arg-type]
    with pytest.raises(PolicyError):
        reid_audit.check(network, shared, policy=POLICY)  # without a hold-out there is no verdict
    with pytest.raises(ValueError, match="pdf"):
        reid_audit.render(None, "pdf")  # type: ignore[arg-type]
    assert not list(here.iterdir())


def test_labels_in_columns_are_named_or_found(tmp_path: Path) -> None:
    marks = Images(films(3, 1), labels=torch.eye(3))
    asked = {"reference": marks, "holdout": marks}
    assert _asked("m.pt", dict(asked), tmp_path / "a").label == "finding_1,finding_2,finding_3"
    assert _asked("m.pt", {**asked, "label": ("finding_3", "finding_1")}, tmp_path / "b").label == "finding_3,finding_1"
    other = {**asked, "holdout": films(3, 2)}
    assert _asked("m.pt", other, tmp_path / "c").label is None


def loaded(source: Path) -> Any:
    return load_cohort(Source(source), Frame(PreprocessSpec(side=SIDE), SIDE), "reference")


def test_columns_reach_the_cohort(tmp_path: Path) -> None:
    given = Images(
        films(3, 1),
        patients=["a", "a", "b"],
        ages=[60, 60.0, np.nan],
        sexes=["F", "F", None],
        labels=torch.eye(3)[0].tolist(),
    )
    source = write_source(given, tmp_path / "given")
    found = load_cohort(Source(source, label="label"), Frame(PreprocessSpec(side=SIDE), SIDE), "reference")
    assert sorted(found.patients.tolist()) == ["a", "a", "b"]
    assert sorted(found.sexes.tolist()) == ["", "F", "F"]
    assert np.nansum(found.ages) == 120
    assert sorted(found.labels.tolist()) == ["0", "0", "1"]
    assert (tmp_path / "given").stat().st_mode & 0o077 == 0


class Scans:
    """A data set of dictionaries, as MONAI's."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"image": films(3, 1)[place, None] / 255.0, "label": place, "Patient ID": f"p{place}", "meta": {}}


@pytest.mark.parametrize(
    ("given", "labelled"),
    [
        (films(3, 1), False),
        (torch.from_numpy(films(3, 1))[:, None].repeat(1, 3, 1, 1), False),
        (list(films(3, 1)[..., None]), False),
        (TensorDataset(torch.from_numpy(films(3, 1)), torch.tensor([0, 1, 0])), True),
        (Scans(), True),
    ],
    ids=["array", "colour tensor", "list of [H, W, 1]", "data set of pairs", "data set of dictionaries"],
)
def test_every_kind_of_images_is_read(tmp_path: Path, given: Any, labelled: bool) -> None:
    source = write_source(given, tmp_path / "given")
    assert len(loaded(source).images) == 3
    assert ("label" in source.read_text().splitlines()[0]) is labelled


class Table:
    """What is used of a data frame."""

    columns = ("Image Index", "Patient ID")

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [{"Image Index": f"{name}.npy", "Patient ID": np.float64(number)} for number, name in enumerate("ab")]


def test_a_table_names_files_from_the_working_directory(here: Path) -> None:
    for number, name in enumerate("ab"):
        np.save(f"{name}.npy", films(1, number)[0])
    assert sorted(loaded(write_source(Table(), here / "given")).patients.tolist()) == ["0", "1"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (films(4, 1)[0], "shape"),
        (np.zeros((2, 5, 8, 8)), "shape"),
        (np.zeros((0, 8, 8)), "no images"),
        ([{"pixels": 1}], "no image"),
        (Images(films(2, 1), ages=[1]), "1 entries of age"),
        (7, "int"),
    ],
    ids=["one film", "five channels", "none", "no image key", "short column", "a number"],
)
def test_what_are_no_images_is_refused_in_three_lines(tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(AuditError, match=said) as refused:
        write_source(given, tmp_path / "given")
    assert all(refused.value.lines())
