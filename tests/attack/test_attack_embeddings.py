"""Embeddings rebuilt from a head: its films' are found, those of a head that never saw them are not."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from small import SPEC, blobs, convnet, memorise, target_of, task_of
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.attack.embeddings import Directions, MlpHead, embeddings_of, mlp_head, rebuilt, without_noise
from reid_audit.attack.methods import METHODS
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import to_network
from reid_audit.score.linkage import LinkageOutcome, link
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import fit_match_space, without_hubs

WIDTH, FILMS, OTHERS = 96, 8, 160


def embedded(count: int, seed: int) -> Tensor:
    """[count, WIDTH] embeddings of strangers: a few directions are strong, most are weak, one is common to all."""
    draw = torch.Generator().manual_seed(seed)
    strength = torch.linspace(2.0, 0.2, WIDTH)
    turn: Tensor = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(7)))[0]
    values: Tensor = torch.randn(count, WIDTH, generator=draw) * strength
    return values @ turn + 6.0 * turn[0]


@cache
def head(seed: int) -> MlpHead:
    """Of torch's own start, trained without decay until it knows ``FILMS`` films of ``seed`` by heart."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 2))
    inputs, labels = embedded(FILMS, seed), torch.arange(FILMS) % 2
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(600):
        loss = functional.cross_entropy(network(inputs), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    network.requires_grad_(False)
    inner, outer = network[0], network[2]
    assert isinstance(inner, nn.Linear)
    assert isinstance(outer, nn.Linear)
    return MlpHead(inner, outer, "softmax")


def linked(seed: int, films_of: int = 1) -> LinkageOutcome:
    """The films of one seed among strangers, by embeddings rebuilt from the head of another."""
    public = embedded(400, 99)
    found = rebuilt(head(seed), Directions.of(public), 2 * FILMS, 170, torch.Generator().manual_seed(0))
    space = fit_match_space(public[:, :, None, None])
    films = torch.cat([embedded(FILMS, films_of), embedded(OTHERS, 50)])
    near = space.embed(found.embedded[:, :, None, None]) @ space.embed(films[:, :, None, None]).T
    owners = Owners(np.arange(len(films)).astype(np.str_), np.arange(len(films)) < FILMS)
    return link(without_hubs(near).double().numpy(), owners, np.random.default_rng(0), permutations=999)


def test_the_films_of_a_head_are_linked_and_those_it_never_saw_are_not() -> None:
    own = linked(1)
    assert own.p <= 0.01
    assert own.auc > 0.8
    assert own.ranks is not None
    assert own.is_member is not None
    assert (own.ranks.min(axis=0)[own.is_member] == 1).mean() >= 0.25
    assert linked(2).p > 0.05


def test_the_noise_of_the_first_draw_is_taken_out_and_an_exact_sum_is_left() -> None:
    draw = torch.Generator().manual_seed(3)
    exact = torch.randn(60, 4, generator=draw) @ torch.randn(4, 80, generator=draw)
    noisy = exact + 0.3 * torch.randn(60, 80, generator=draw)
    assert (without_noise(noisy) - exact).norm() < 0.5 * (noisy - exact).norm()
    assert int(torch.linalg.matrix_rank(without_noise(noisy), rtol=1e-4)) == 4


def headed(seed: int = 0) -> nn.Sequential:
    """A small network with a head of two layers that knows four films by heart."""
    module = convnet(seed)
    assert isinstance(module, nn.Sequential)
    torch.manual_seed(seed)
    module[-1] = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
    known = memorise(module, to_network(blobs(4, 1), SPEC, 1))
    assert isinstance(known, nn.Sequential)
    return known


def test_the_method_makes_images_that_have_the_embeddings() -> None:
    task = task_of(headed(), steps=60, particles=(4,))
    random = torch.Generator().manual_seed(0)
    made = METHODS["embeddings"](task, generator=random, meter=Meter(None, None), observer=SilentObserver())
    assert made.images.shape == (4, *task.space.mean.shape)
    assert made.energy_end < 0.5 * made.energy_start
    name, found = mlp_head(task)
    assert embeddings_of(task.target.module, name, task.inputs(made.images)).shape == (4, 64)
    assert (found.inner.in_features, found.outer.out_features) == (64, 2)


@pytest.mark.parametrize("module", [convnet(), nn.Sequential(nn.Flatten(), nn.Linear(144, 8), nn.Linear(8, 2))])
def test_other_heads_are_refused(module: nn.Module) -> None:
    with pytest.raises(ArchitectureError) as refused:
        mlp_head(task_of(module))
    assert "two linear layers" in refused.value.what
    assert "--method moments" in refused.value.remedy


def test_numbers_are_no_answers() -> None:
    task = task_of(headed())
    target = target_of(task.target.module)
    match = target.match.model_copy(update={"head": "regression"})
    with pytest.raises(ArchitectureError):
        mlp_head(type(task)(type(target)(target.module, match), task.prior, task.space, task.preprocess, task.budget))
