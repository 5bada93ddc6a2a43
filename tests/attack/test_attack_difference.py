"""A fine-tuned network and its base: members' gradients, and members themselves, span the way between them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import SPEC, blobs, convnet, target_of, task_of
from torch.nn import functional

from reid_audit.attack.gradient import difference_objective, first_layers
from reid_audit.attack.interface import AttackTask
from reid_audit.attack.methods import METHODS
from reid_audit.audit.recognition import membership_of
from reid_audit.budget import Meter, unhurried
from reid_audit.errors import ArchitectureError
from reid_audit.network.difference import displacement
from reid_audit.network.layers import matrix_layers
from reid_audit.network.ordinary import prior_batches
from reid_audit.network.reading import Inputs
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import to_network
from reid_audit.score.comparison import Comparison
from reid_audit.score.membership.difference import row_space, spans, telling
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import fit_match_space

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
        torch.autograd.backward(loss)
        optimiser.step()
    return base, tuned


def test_the_members_gradients_explain_the_displacement(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    base, tuned = pair
    task = replace(task_of(tuned, particles=(MEMBERS,)), base=target_of(base))
    objective = difference_objective(task, displacement(task.target, target_of(base)))
    own, *others = (
        float(objective.energy(to_network(blobs(MEMBERS, seed), SPEC, 1)).detach()) for seed in (1, 2, 3, 4)
    )  # fmt: skip
    assert own < 0.6 * min(others)


def test_each_image_is_scored_alone_with_the_label_it_explains_most_with(
    pair: tuple[torch.nn.Module, torch.nn.Module],
) -> None:
    base, tuned = pair
    task = replace(task_of(tuned), base=target_of(base))
    objective = difference_objective(task, displacement(task.target, target_of(base)))
    own, others = (objective.image_energy(to_network(blobs(MEMBERS, seed), SPEC, 1)) for seed in (1, 2))
    assert own.shape == (MEMBERS,)
    assert float(own.mean()) < float(others.mean())


def test_a_film_gradient_is_the_one_autograd_finds(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    base, tuned = pair
    task = replace(task_of(tuned), base=target_of(base))
    gradients = difference_objective(task, displacement(task.target, target_of(base))).gradients
    inputs, labels = to_network(blobs(2, 1), SPEC, 1), torch.tensor([0, 1])
    found = gradients.of(inputs, labels)
    leaves = {name: value.requires_grad_(True) for name, value in gradients.parameters.items()}
    for row, (film, label) in enumerate(zip(torch.split(inputs, 1), labels, strict=True)):
        loss = -functional.cross_entropy(torch.func.functional_call(tuned, leaves, (film,)), label[None])
        wanted = torch.autograd.grad(loss, [leaves[f"{name}.weight"] for name in gradients.layers])
        cosine = functional.cosine_similarity(found[row], torch.cat([g.flatten() for g in wanted]), dim=0)
        assert float(cosine.detach()) == pytest.approx(1.0, abs=1e-5)


def test_only_the_first_layers_that_moved_are_compared(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    path = displacement(target_of(pair[1]), target_of(pair[0]))
    assert first_layers(path, ("0", "2", "4")) == ("0", "2", "4")
    still = replace(path, moved={name: step for name, step in path.moved.items() if name != "0.weight"})
    assert first_layers(still, ("0", "2", "4")) == ("2", "4")
    assert first_layers(still, ("0",)) == ()


def test_the_attack_explains_more_and_more(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    base, tuned = pair
    task = replace(task_of(tuned, steps=300, particles=(6,)), base=target_of(base))
    made = METHODS["gradient"](
        task, generator=torch.Generator().manual_seed(0), meter=Meter(None, None), observer=SilentObserver()
    )
    assert made.images.shape[0] == 6
    assert made.energy_end < 0.9 * made.energy_start


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


def test_a_difference_in_norms_alone_is_refused(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    moved = copy.deepcopy(pair[0])
    with torch.no_grad():
        [*moved.children()][-1].get_parameter("bias").add_(0.1)
    assert "1 parameters moved" in refusal(moved, pair[0]).closest


class Patches(torch.nn.Module):
    """A patch embedding, a mixing layer and a head: the shape of a small vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embed = torch.nn.Conv2d(1, 48, 6, 6)
        self.mix = torch.nn.Linear(48, 48)
        self.head = torch.nn.Linear(48, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        found: torch.Tensor = self.head(torch.tanh(self.mix(torch.tanh(tokens))).mean(1))
        return found


def fine_tuned(base: torch.nn.Module, films: torch.Tensor, *, steps: int = 40) -> torch.nn.Module:
    tuned = copy.deepcopy(base).train().requires_grad_(True)
    optimiser = torch.optim.SGD(tuned.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        loss = functional.cross_entropy(tuned(to_network(films, SPEC, 1)), torch.arange(len(films)) % 2)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return tuned


def inputs(films: torch.Tensor) -> Inputs:
    return Inputs(films, lambda part: to_network(part, SPEC, 1))


def ordinary(task: AttackTask) -> Iterator[torch.Tensor]:
    return prior_batches(task.space, task.inputs, 128)


def test_members_lie_in_the_row_space_of_what_moved() -> None:
    base = Patches()
    tuned = fine_tuned(base, blobs(4, 1))
    task, path = task_of(tuned), displacement(target_of(tuned), target_of(base))
    found = spans(path, inputs(torch.cat([blobs(4, 1), blobs(40, 2)])), ordinary(task), unhurried())
    assert found is not None
    assert found.shape == (44,)
    assert float(found[:4].min()) > float(found[4:].max())


@pytest.mark.parametrize("head", ["softmax", "regression", "features"])
def test_with_a_base_the_membership_scores_have_one_family_more(head: str) -> None:
    base = Patches()
    task = task_of(fine_tuned(base, blobs(4, 1)))
    task = replace(
        task, target=replace(task.target, match=task.target.match.model_copy(update={"head": head})), samples=128
    )
    films, owners = torch.cat([blobs(4, 1), blobs(40, 2)]), Owners(np.arange(44).astype(np.str_), np.arange(44) < 4)
    compared = Comparison.unlabelled(films, owners, fit_match_space(blobs(40, 3)))
    assert "difference" not in membership_of(task, compared).scores
    scores = membership_of(replace(task, base=target_of(base)), compared).scores["difference"]
    assert scores[:4].min() > scores[4:].max()


def test_films_a_network_never_saw_look_alike_in_its_row_space() -> None:
    base = Patches()
    path = displacement(target_of(fine_tuned(base, blobs(4, 1))), target_of(base))
    prior = ordinary(task_of(base))
    found = spans(path, inputs(blobs(80, 2)), prior, unhurried())
    assert found is not None
    assert abs(float(found[:40].mean() - found[40:].mean())) < float(found.std())


def test_a_row_space_holds_what_moved_the_weight_and_little_else() -> None:
    draw = torch.Generator().manual_seed(0)
    seen, others = torch.randn(1, 6, 32, generator=draw), torch.randn(1, 6, 32, generator=draw)
    moved = torch.randn(40, 6, generator=draw) @ seen[0]
    space = row_space(moved, torch.eye(32))
    assert float(space.share(seen)) > 0.95
    assert float(space.share(others)) < 0.5


def test_a_layer_that_is_fed_nothing_tells_nothing() -> None:
    space = row_space(torch.eye(20), torch.zeros(20, 20))
    assert torch.equal(space.share(torch.zeros(3, 2, 20)), torch.zeros(3))


def test_layers_that_cannot_tell_are_left_out() -> None:
    base = Patches()
    path = displacement(target_of(fine_tuned(base, blobs(4, 1))), target_of(base))
    assert telling(path, to_network(blobs(1, 1), SPEC, 1)) == ("embed", "mix")
    assert spans(replace(path, moved={}), inputs(blobs(2, 1)), [], unhurried()) is None


class Twice(torch.nn.Module):
    """One layer called twice, one fed the strips of a film as if they were films."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.strips = torch.nn.Linear(144, 144), torch.nn.Linear(36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = self.again(self.again(x.flatten(1)))
        found: torch.Tensor = self.strips(mixed.view(-1, 36)).reshape(len(x), -1)
        return found


def test_layers_whose_rows_are_not_images_are_left_out() -> None:
    assert matrix_layers(Twice(), blobs(1, 1)) == ()
    assert matrix_layers(Patches(), blobs(1, 1)) == ("embed", "mix", "head")


class Attention(torch.nn.Module):
    """One fused attention over four strips of the film."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = torch.nn.Linear(36, 8), torch.nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x.reshape(len(x), 1, 4, 36))
        mixed: torch.Tensor = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        found: torch.Tensor = self.head(mixed.mean((1, 2)))
        return found


def test_second_derivatives_pass_through_attention() -> None:
    torch.manual_seed(0)
    base, tuned = Attention(), Attention()
    inputs = to_network(blobs(8, 1), SPEC, 1).requires_grad_(True)
    task = task_of(tuned, particles=(8,))
    torch.autograd.backward(difference_objective(task, displacement(target_of(tuned), target_of(base))).energy(inputs))
    assert inputs.grad is not None
    assert float(inputs.grad.abs().sum()) > 0
