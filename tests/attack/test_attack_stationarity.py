"""Layers below the head are their own gradient on the training films, through attention too."""

from __future__ import annotations

import pytest
import torch
from small import SPEC, blobs, convnet, target_of, task_of
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.attack.gradient import difference_objective
from reid_audit.attack.moments import moments
from reid_audit.attack.refinement import RefineSettings
from reid_audit.attack.stationarity import layer_stationarity, weights_below
from reid_audit.budget import Meter
from reid_audit.network.difference import displacement
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import to_network

FILMS, LABELS = to_network(blobs(8, 1), SPEC, 1), torch.arange(8) % 2


@pytest.fixture(scope="module")
def optimum() -> nn.Module:
    """Two layers at the optimum of their weight-decayed loss."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(144, 12), nn.Tanh(), nn.Linear(12, 2))
    optimiser = torch.optim.LBFGS(module.parameters(), max_iter=400, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        decay = torch.stack([weight.square().sum() for weight in module.parameters()]).sum()
        value = functional.cross_entropy(module(FILMS), LABELS, reduction="sum") + 0.02 * decay
        value.backward()
        return value

    optimiser.step(loss)  # type: ignore[arg-type]
    return module.requires_grad_(False)


def test_the_training_films_are_the_gradient_of_the_layer_and_others_are_not(optimum: nn.Module) -> None:
    names = weights_below(optimum, optimum[3], 4)  # type: ignore[index]
    assert names == ("1.weight",)
    own = layer_stationarity(optimum, "softmax", FILMS, LABELS, names)
    others = layer_stationarity(optimum, "softmax", to_network(blobs(8, 2), SPEC, 1), LABELS, names)
    assert float(own) < 0.02
    assert float(others) > float(own) + 0.1


def test_the_last_weights_come_last() -> None:
    module = convnet(normalised=False)
    assert weights_below(module, list(module)[-1], 2) == ("2.weight", "4.weight")
    assert weights_below(module, list(module)[-1], 0) == ()


def test_the_attack_may_ask_for_it() -> None:
    task = task_of(convnet(normalised=False), steps=25, particles=(4, 4))
    ended = [
        moments(
            task, generator=torch.Generator().manual_seed(0), meter=Meter(None, None), observer=SilentObserver(),
            settings=RefineSettings(deep=deep),
        )
        for deep in (0, 2)
    ]  # fmt: skip
    assert ended[1].energy_start > ended[0].energy_start
    assert ended[1].energy_end < ended[1].energy_start


class Attention(nn.Module):
    """One fused attention over four strips of the film."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(36, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.reshape(len(x), 1, 4, 36))
        mixed: Tensor = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        found: Tensor = self.head(mixed.mean((1, 2)))
        return found


def test_second_derivatives_pass_through_attention() -> None:
    torch.manual_seed(0)
    base, tuned = Attention(), Attention()
    inputs = FILMS.clone().requires_grad_(True)
    task = task_of(tuned, particles=(len(FILMS),))
    difference_objective(task, displacement(target_of(tuned), target_of(base))).energy(inputs).backward()
    assert inputs.grad is not None
    assert float(inputs.grad.abs().sum()) > 0
    again = FILMS.clone().requires_grad_(True)
    layer_stationarity(target_of(tuned).module, "softmax", again, LABELS, ("embed.weight",)).backward()
    assert float(again.grad.abs().sum()) > 0  # type: ignore[union-attr]
