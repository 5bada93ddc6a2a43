"""The layer that answers: linear, or a convolution averaged over positions, of networks as libraries build them."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from small import convnet, target_of
from torch import nn

from reid_audit.arch import identify
from reid_audit.attack.objectives import HeadObjective, objective_for
from reid_audit.network.heads import classifier, features_and_logits, head_stationarity
from reid_audit.network.reading import Inputs
from reid_audit.score.membership.families import membership_scores
from reid_audit.score.membership.stationarity import head_equations

SIDE = 64


def built(name: str, outputs: int = 2) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("squeezenet"):
        return getattr(torchvision.models, name)(num_classes=outputs)  # type: ignore[no-any-return]
    return timm.create_model(name, num_classes=outputs)


@pytest.mark.parametrize(("name", "path"), [
    ("squeezenet1_0", "classifier.1"), ("squeezenet1_1", "classifier.1"), ("dla46_c", "fc"), ("resnetv2_18", "head.fc"),
])  # fmt: skip
@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_a_convolution_that_answers_is_the_head(name: str, path: str, outputs: int) -> None:
    module = built(name, outputs)
    target = identify(module.state_dict(), side=SIDE)
    assert target.match.classes == outputs
    assert target.match.head == ("sigmoid" if outputs == 1 else "softmax")
    head = classifier(target)
    assert head is target.module.get_submodule(path)
    assert isinstance(head, nn.Conv2d)
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        features, logits = features_and_logits(target.module, images, head)
        wanted = module.eval()(images)
    assert features.shape == (2, head.in_channels)
    assert torch.allclose(logits, wanted, atol=1e-5)
    if not name.startswith("squeezenet"):  # which cuts its answers off at zero before it averages them
        assert head.bias is not None
        assert torch.allclose(logits, features @ head.weight.flatten(1).T + head.bias, atol=1e-4)


def test_a_linear_layer_goes_before_a_convolution_and_layers_inside_are_no_head() -> None:
    target = target_of(convnet())
    assert isinstance(classifier(target), nn.Linear)
    inner = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.Unflatten(1, (4, 1, 1))
    )
    point = nn.Conv2d(4, 2, 1)
    assert classifier(target_of(nn.Sequential(*inner, point, nn.Flatten()))) is point
    none = target_of(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
    assert classifier(none) is None


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_squeezenet_is_asked_as_a_network_without_statistics(name: str) -> None:
    target = identify(built(name).state_dict(), side=SIDE)
    images = torch.rand(6, 3, SIDE, SIDE)
    objective = objective_for(target, torch.tensor([0, 0, 1, 1]), images[:1])
    assert isinstance(objective, HeadObjective)
    energy = objective.energy(images[:4].requires_grad_())
    assert energy.shape == (2,)
    torch.autograd.backward(energy.sum())
    found = membership_scores(target, Inputs(images.detach(), lambda part: part), torch.tensor([]).numpy().astype(str))
    assert {"stationarity", "margin"} <= set(found.scores)


def test_films_that_were_learned_explain_a_convolution_that_answers() -> None:
    """A head of one pixel trained to stationarity is its own gradient, as a linear one is."""
    torch.manual_seed(0)
    maps = torch.randn(8, 16, 3, 3)
    head, labels = nn.Conv2d(16, 2, 1, bias=False), torch.arange(8) % 2
    optimiser = torch.optim.SGD(head.parameters(), lr=0.5, weight_decay=1e-2)
    for _ in range(3000):
        loss = nn.functional.cross_entropy(head(maps).flatten(2).mean(2), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    with torch.no_grad():
        features, others = maps.flatten(2).mean(2), torch.randn(8, 16)
        logits = head(maps).flatten(2).mean(2)
        assert float(head_stationarity("softmax", features, logits, labels, head)) < 5e-3
        strange = others @ head.weight.flatten(1).T
        assert float(head_stationarity("softmax", others, strange, strange.argmax(1), head)) > 0.05
        assert head_equations("softmax", head, features, logits).linear.shape == (8,)
