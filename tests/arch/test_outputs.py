"""Constructors of the user's own: told by running them whether they answer, draw masks or do neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from reid_audit.arch import identify
from reid_audit.arch.factory import _import
from reid_audit.arch.outputs import output_of
from reid_audit.audit.setup import as_stated
from reid_audit.errors import ArchitectureError

OWN = """
import torch
from torch import nn

class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(4, 4)
    def forward(self, x):
        return x * self.inside(x.mean((2, 3))).sigmoid()[:, :, None, None]

class Several(nn.Module):
    def __init__(self, boxes):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 7, 1))
        self.boxes = boxes
    def forward(self, x):
        found = self.model(x)
        return [{"boxes": one} for one in found] if self.boxes else [found, found]

def mask():
    return nn.Sequential(nn.Conv2d(1, 4, 3), Squeeze(), nn.Conv2d(4, 2, 1))
def features():
    return nn.Sequential(nn.Conv2d(1, 4, 3), Squeeze(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
def answers():
    return nn.Sequential(nn.Conv2d(1, 4, 3), Squeeze(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 14))
def ended(*ends):
    return nn.Sequential(nn.Conv2d(1, 4, 3), Squeeze(), *ends, nn.AdaptiveAvgPool2d(1), nn.Flatten())
def pooled():
    return ended(nn.Conv2d(4, 14, 1), nn.ReLU())
def encoder():
    return ended(nn.Conv2d(4, 9, 1), nn.BatchNorm2d(9))
def scales():
    return Several(False)
def boxes():
    return Several(True)
def sigmoid():
    return nn.Sequential(*answers(), nn.Sigmoid())
def softmax():
    return nn.Sequential(*answers(), nn.Softmax(1))
def log_softmax():
    return nn.Sequential(*answers(), nn.LogSoftmax(1))
def yes():
    return nn.Sequential(*answers()[:-1], nn.Linear(4, 1), nn.Sigmoid())
def deep():
    return nn.Sequential(nn.Unflatten(1, (1, 1)), nn.Conv3d(1, 4, 1), nn.InstanceNorm3d(4), nn.Conv3d(4, 2, 1))
def deeply_painted():
    return nn.Sequential(*deep(), nn.Sigmoid())
def painted():
    return nn.Sequential(*mask(), nn.Sigmoid())
def fixed():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 46 * 46, 2))
"""
PROBABILITIES = ("sigmoid", "softmax", "log_softmax", "yes", "painted", "deeply_painted")


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, nn.Module]:
    (tmp_path / "own_ends.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    made: dict[str, nn.Module] = {}
    for name in (
        *("mask", "features", "answers", "pooled", "encoder", "scales", "boxes", "fixed", "deep"),
        *PROBABILITIES,
    ):
        made[name] = _import(f"own_ends:{name}")()
    return made


@pytest.mark.parametrize(
    ("name", "head", "classes"),
    [
        ("mask", "segmentation", 2),
        ("deep", "segmentation", 2),
        ("features", "features", 0),
        ("answers", "softmax", 14),
        ("pooled", "softmax", 14),
        ("encoder", "features", 0),
        ("scales", "features", 0),
        ("boxes", "features", 0),
    ],
)
def test_what_ends_a_network_is_its_head_and_layers_inside_are_none(
    name: str, head: str, classes: int, own: dict[str, nn.Module]
) -> None:
    match = identify(dict(own[name].state_dict()), factory=f"own_ends:{name}", side=16).match
    assert (match.head, match.classes) == (head, classes)


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "yes", "painted", "deeply_painted"])
def test_probabilities_are_refused_because_membership_compares_answers(name: str, own: dict[str, nn.Module]) -> None:
    """A sigmoid at the end of a ResNet-18 that knew 388 patients by heart brought its generalisation gap from 0.22 to
    0.08: every answer was taken for a yes."""
    target = identify(dict(own[name].state_dict()), factory=f"own_ends:{name}", side=16)
    with pytest.raises(ArchitectureError, match="gives probabilities") as refused:
        as_stated(target, None)
    assert "Identity" in refused.value.remedy


def test_answers_and_numbers_may_end_as_they_do(own: dict[str, nn.Module]) -> None:
    for name in ("answers", "pooled", "log_softmax", "mask", "features", "scales"):
        target = identify(dict(own[name].state_dict()), factory=f"own_ends:{name}", side=16)
        assert as_stated(target, None).match == target.match
    number = identify(dict(own["yes"].state_dict()), factory="own_ends:yes", side=16)
    assert as_stated(number, "regression").match.head == "regression"


def test_a_prefix_that_every_name_of_the_module_has(own: dict[str, nn.Module]) -> None:
    """Reading a file takes ``model.`` off all keys; the module of Ultralytics has it on all of its own."""
    state = {key.removeprefix("model."): value for key, value in own["scales"].state_dict().items()}
    target = identify(state, factory="own_ends:scales", side=16)
    assert torch.equal(target.module.state_dict()["model.0.weight"], state["0.weight"])


def test_the_side_is_found_by_trying(own: dict[str, nn.Module]) -> None:
    state = dict(own["fixed"].state_dict())
    match = identify(state, factory="own_ends:fixed").match
    assert (match.side, match.side_by) == (48, "weights")
    with pytest.raises(ArchitectureError, match="does not run on films of 1 x 40 x 40") as refused:
        identify(state, factory="own_ends:fixed", side=40)
    assert "--side" in refused.value.remedy


class Hungry(nn.Module):
    """A network for which the machine has no memory."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_a_machine_without_memory_is_no_fault_of_the_network() -> None:
    with pytest.raises(RuntimeError, match="allocate memory"):
        output_of(Hungry(), 1, None)
