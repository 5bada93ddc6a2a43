"""A fine-tuned network and its base: members' gradients point along the way between them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from small import SPEC, blobs, convnet, target_of, task_of
from torch.nn import functional

from reid_audit.attack.difference import displacement, film_alignments
from reid_audit.attack.heads import answers
from reid_audit.attack.methods import METHODS
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import to_network

MEMBERS = 6


@pytest.fixture(scope="module")
def pair() -> tuple[torch.nn.Module, torch.nn.Module]:
    """A network without BatchNorm before and after a few full-batch steps on six films."""
    base = convnet(3, normalised=False)
    tuned = copy.deepcopy(base).train()
    optimiser = torch.optim.SGD(tuned.parameters(), lr=0.05)
    for _ in range(10):
        loss = functional.cross_entropy(tuned(to_network(blobs(MEMBERS, 1), SPEC, 1)), torch.arange(MEMBERS) % 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return base, tuned


def test_the_joint_gradient_of_the_members_is_the_displacement(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    base, tuned = pair
    path = displacement(target_of(tuned), target_of(base))
    labels = answers(torch.arange(MEMBERS) % 2, 2)
    own = path.alignment(path.gradients(to_network(blobs(MEMBERS, 1), SPEC, 1), labels))
    others = path.alignment(path.gradients(to_network(blobs(MEMBERS, 2), SPEC, 1), labels))
    assert float(own) > 0.95
    assert float(own) > float(others)


def test_every_film_has_an_alignment(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    base, tuned = pair
    values = film_alignments(target_of(tuned), target_of(base), to_network(blobs(5, 4), SPEC, 1))
    assert values is not None
    assert values.shape == (5,)
    assert bool((values.abs() <= 1.0 + 1e-6).all())


def test_the_attack_aligns_its_batch(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    base, tuned = pair
    task = replace(task_of(tuned, steps=80, particles=(6,)), base=target_of(base))
    made = METHODS["gradient"](
        task, generator=torch.Generator().manual_seed(0), meter=Meter(None, None), observer=SilentObserver()
    )
    assert made.images.shape[0] == 6
    assert made.energy_end < 0.5 * made.energy_start


def test_without_a_base_the_method_refuses(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    with pytest.raises(ArchitectureError, match="fine-tuned from"):
        METHODS["gradient"](
            task_of(pair[1]), generator=torch.Generator(), meter=Meter(None, None), observer=SilentObserver()
        )


def test_another_network_and_the_same_weights_are_no_base(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    base, _ = pair
    with pytest.raises(ArchitectureError, match="not the network"):
        displacement(target_of(base), target_of(torch.nn.Sequential(torch.nn.Linear(3, 2))))
    with pytest.raises(ArchitectureError, match="same weights"):
        displacement(target_of(base), target_of(copy.deepcopy(base)))


def refusal(module: torch.nn.Module, base: torch.nn.Module, **head: str) -> ArchitectureError:
    """What `gradient` says of a network and its base."""
    target, task = target_of(module), task_of(module)
    target = replace(target, match=target.match.model_copy(update=head))
    with pytest.raises(ArchitectureError) as refused:
        METHODS["gradient"](
            replace(task, target=target, base=target_of(base)),
            generator=torch.Generator(), meter=Meter(None, None), observer=SilentObserver(),
        )  # fmt: skip
    return refused.value


def test_a_base_of_other_shapes_is_refused_in_three_lines(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    said = refusal(pair[1], torch.nn.Sequential(*(torch.nn.Conv2d(1, 8, 3) for _ in range(3))))
    assert "not the network" in said.what
    assert "0 of 5 parameters" in said.closest
    assert "--base" in said.remedy


def test_a_regression_has_no_labels_to_guess(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    base, tuned = pair
    said = refusal(tuned, base, head="regression")
    assert "regression head" in said.closest
    target = replace(target_of(tuned), match=target_of(tuned).match.model_copy(update={"head": "regression"}))
    assert film_alignments(target, target_of(base), to_network(blobs(2, 4), SPEC, 1)) is None
