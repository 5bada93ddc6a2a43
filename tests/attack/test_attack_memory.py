"""Images that pass a few at a time have the energy of all together, and an attack that runs out of memory goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small import SPEC, blobs, convnet, memorise, task_of

from reid_audit.attack.likelihood import likelihood, recipe
from reid_audit.attack.methods import METHODS
from reid_audit.attack.objectives import HeadObjective, Objective, StatisticsObjective
from reid_audit.attack.parts import half
from reid_audit.budget import Meter
from reid_audit.network import batchnorm
from reid_audit.observer import Event, Noted
from reid_audit.preprocess import to_network


@pytest.fixture(scope="module", params=["statistics", "head"])
def objective(request: pytest.FixtureRequest) -> StatisticsObjective | HeadObjective:
    if request.param == "head":
        task = task_of(convnet(normalised=False), particles=(2, 3))
    else:
        task = task_of(memorise(convnet(), to_network(blobs(4, 1), SPEC, 1)), particles=(2, 3))
    found = likelihood(task, recipe(task))
    assert isinstance(found, StatisticsObjective | HeadObjective)
    return found


def slope(objective: Objective, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = images.clone().requires_grad_(True)
    energies = objective.energy(inputs)
    torch.autograd.backward(energies.sum())
    assert inputs.grad is not None
    return energies.detach(), inputs.grad


@pytest.mark.parametrize("most", [1, 2, 3, 5, 9])
def test_parts_have_the_energy_and_the_gradient_of_the_whole(
    objective: StatisticsObjective | HeadObjective, most: int
) -> None:
    images = to_network(blobs(5, 7), SPEC, 1)
    whole, parts = slope(objective, images), slope(replace(objective, most=most), images)
    for ours, theirs in zip(parts, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_halves_end_at_single_images() -> None:
    assert [half(None, 48), half(48, 48), half(3, 48), half(1, 48), half(None, 1)] == [24, 24, 1, None, None]


class Notes:
    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.said.append(event.message)


@pytest.mark.parametrize(("fits", "notes"), [(4, 1), (1, 3), (0, 3)])
def test_an_attack_goes_on_with_as_many_images_as_fit(monkeypatch: pytest.MonkeyPatch, fits: int, notes: int) -> None:
    """A memory that holds ``fits`` images: the attack is that of a larger one, or ends as the machine does."""
    module = memorise(convnet(), to_network(blobs(4, 1), SPEC, 1))
    task, heard = task_of(module, steps=4, particles=(3, 5)), Notes()

    def attacked() -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return METHODS["moments"](task, generator=generator, meter=Meter(None, None), observer=heard).images

    whole, passed = attacked(), batchnorm.moments_and_output

    def crowded(module: torch.nn.Module, inputs: torch.Tensor, **more: Any) -> Any:
        if inputs.requires_grad and len(inputs) > fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return passed(module, inputs, **more)

    monkeypatch.setattr(batchnorm, "moments_and_output", crowded)
    if not fits:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            attacked()
    else:
        torch.testing.assert_close(attacked(), whole, rtol=0.0, atol=1e-3)
    assert len(heard.said) == notes
    assert all("out of memory" in message for message in heard.said)
