"""Learned shares of particles, measured floors, a given start: what the optimiser may be told."""

from __future__ import annotations

import pytest
import torch
from small import SPEC, blobs, convnet, memorise, task_of

from reid_audit.attack.likelihood import likelihood
from reid_audit.attack.moments import moments
from reid_audit.attack.objectives import effective_sizes, group_weights, shares
from reid_audit.attack.refinement import RefineSettings, refine
from reid_audit.attack.schedules import noise_floors
from reid_audit.budget import Meter
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import to_network

MEMBERS = 4


@pytest.fixture(scope="module")
def memorised() -> torch.nn.Module:
    return memorise(convnet(), to_network(blobs(MEMBERS, 1), SPEC, 1))


def test_shares_stay_within_their_group() -> None:
    weights = group_weights(torch.tensor([0, 0, 1, 1, 1]))
    assert torch.allclose(shares(weights, torch.zeros(5)), weights)
    learned = shares(weights, torch.tensor([9.0, -9.0, 0.0, 0.0, -30.0]))
    assert torch.allclose(learned.sum(1), torch.ones(2))
    assert torch.equal(learned > 0, weights > 0)
    assert effective_sizes(learned).tolist() == pytest.approx([1.0, 2.0], abs=1e-4)


def test_shares_find_the_training_films_among_others(memorised: torch.nn.Module) -> None:
    task = task_of(memorised, particles=(10,))
    inputs = to_network(torch.cat([blobs(MEMBERS, 1), blobs(6, 2)]), SPEC, 1)
    objective = likelihood(task, RefineSettings())
    mixture = torch.zeros(10, requires_grad=True)
    assert torch.allclose(objective.energy(inputs, mixture), objective.energy(inputs), rtol=1e-3)
    optimiser = torch.optim.Adam([mixture], lr=0.2)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.2 * (1 - step / 200)
        optimiser.zero_grad()
        torch.log(objective.energy(inputs, mixture)).sum().backward()
        optimiser.step()
    learned = mixture.detach().softmax(0)
    assert float(learned[:MEMBERS].sum()) > 0.95
    assert float(learned[:MEMBERS].min()) > 0.15


def test_shares_are_learned_along_with_the_images(memorised: torch.nn.Module) -> None:
    task = task_of(memorised, steps=40, particles=(3, 6))
    settings = RefineSettings(weighted=True)
    found = refine(
        task,
        task.space,
        settings.start_scale * task.space.sample_latents(9, torch.Generator().manual_seed(0)),
        likelihood(task, settings),
        steps=40,
        meter=Meter(None, None),
        observer=SilentObserver(),
        stage="test",
        settings=settings,
    )
    assert found.mixture is not None
    assert float(found.mixture.abs().max()) > 0.01
    assert found.trajectory[-1][1] < found.trajectory[0][1]


def test_floors_may_be_given_instead_of_the_ramp(memorised: torch.nn.Module) -> None:
    task = task_of(memorised, particles=(4,))
    inputs = to_network(blobs(4, 2), SPEC, 1)
    ramp = likelihood(task, RefineSettings()).energy(inputs)
    same = likelihood(task, RefineSettings(floors=tuple(noise_floors(3)))).energy(inputs)
    halved = likelihood(task, RefineSettings(floors=tuple(f / 2 for f in noise_floors(3)))).energy(inputs)
    assert torch.equal(ramp, same)
    assert torch.allclose(halved, 2 * ramp)


def test_a_start_may_be_given(memorised: torch.nn.Module) -> None:
    task = task_of(memorised, steps=1, particles=(4,))
    start = task.space.encode(blobs(4, 1))
    made = moments(task, generator=torch.Generator(), meter=Meter(None, None), observer=SilentObserver(), start=start)
    assert float((made.images - blobs(4, 1)).abs().mean()) < 0.05
