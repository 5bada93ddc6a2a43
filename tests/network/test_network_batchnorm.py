"""What the statistics layers store, and the correction that makes the training set explain them exactly."""

from __future__ import annotations

import copy

import pytest
import torch
from small import SPEC, blobs, convnet, memorise

from reid_audit.attack.metric import isotropic
from reid_audit.attack.objectives import group_weights, moment_energy
from reid_audit.network.batchnorm import image_moments, statistics_layers, untouched_layers
from reid_audit.preprocess import to_network


@pytest.fixture(scope="module")
def memorised() -> tuple[torch.nn.Module, torch.Tensor]:
    inputs = to_network(blobs(6, 1), SPEC, 1)
    return memorise(convnet(), inputs), inputs


def energy(module: torch.nn.Module, inputs: torch.Tensor, batches: torch.Tensor | None) -> float:
    layers = image_moments(module, inputs, batches=batches)
    weights = group_weights(torch.zeros(len(inputs), dtype=torch.int64))
    return float(moment_energy(layers, weights, isotropic([1e-4] * len(layers), layers)))


def test_moments_are_those_of_the_layer_input() -> None:
    module = convnet().eval()
    inputs = to_network(blobs(3, 2), SPEC, 1)
    first = image_moments(module, inputs)[0]
    values = module.get_submodule("0")(inputs) - first.stored.mean[:, None, None]
    assert torch.allclose(first.first, values.mean((2, 3)), atol=1e-6)
    assert torch.allclose(first.second, values.square().mean((2, 3)), atol=1e-6)
    assert first.positions == values.shape[-1] ** 2


def test_training_batch_explains_its_statistics_only_with_the_biased_variance(
    memorised: tuple[torch.nn.Module, torch.Tensor],
) -> None:
    module, inputs = memorised
    size = torch.full((len(inputs),), float(len(inputs)))
    exact = energy(module, inputs, size)
    naive = energy(module, inputs, None)
    wrong = energy(module, inputs, 4 * size)
    strangers = energy(module, to_network(blobs(6, 3), SPEC, 1), size)
    assert exact < 0.05 * naive
    assert exact < wrong < strangers


def test_no_batch_sizes_leaves_the_network_as_it_is(memorised: tuple[torch.nn.Module, torch.Tensor]) -> None:
    module, inputs = memorised
    seen: list[torch.Tensor] = []
    handle = module.get_submodule("4").register_forward_hook(lambda *a: seen.append(a[2]))
    module(inputs)
    image_moments(module, inputs)
    handle.remove()
    assert torch.equal(seen[0], seen[1])


def test_forward_stops_after_the_named_layer(memorised: tuple[torch.nn.Module, torch.Tensor]) -> None:
    module, inputs = memorised
    order = [layer.stored.name for layer in image_moments(module, inputs[:1])]
    assert [m.stored.name for m in image_moments(module, inputs, last=order[1])] == order[:2]


def test_statistics_that_were_never_updated_are_absent(memorised: tuple[torch.nn.Module, torch.Tensor]) -> None:
    module, inputs = copy.deepcopy(memorised[0]), memorised[1]
    every = statistics_layers(module)
    first, *others = every
    assert untouched_layers(module) == []
    first[1].reset_running_stats()
    assert [name for name, _ in statistics_layers(module)] == [name for name, _ in others]
    assert [name for name, _ in untouched_layers(module)] == [first[0]]
    assert [layer.stored.name for layer in image_moments(module, inputs)] == [name for name, _ in others]
    for _, layer in others:
        layer.reset_running_stats()
    assert statistics_layers(module) == []
    assert image_moments(module, inputs) == []
    module.train()(inputs)
    assert [name for name, _ in statistics_layers(module)] == [name for name, _ in every]


def test_networks_without_statistics_have_none() -> None:
    assert statistics_layers(convnet(normalised=False)) == []
    assert statistics_layers(torch.nn.BatchNorm2d(3, track_running_stats=False)) == []
