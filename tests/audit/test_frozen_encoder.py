"""A head trained on a frozen encoder: the public weights' statistics are of none of the films that trained it."""

from __future__ import annotations

import copy

import pytest
from small import convnet, target_of
from torch import nn

from reid_audit.arch.statistics import statistics_in
from reid_audit.arch.target import Target
from reid_audit.audit.setup import without_inherited
from reid_audit.network.batchnorm import statistics_layers, untouched_layers
from reid_audit.network.difference import displacement


@pytest.fixture
def base() -> Target:
    found = target_of(convnet())
    held = statistics_in(dict(found.module.state_dict())).updated
    return Target(found.module, found.match.model_copy(update={"data_statistics": held}))


def headed(base: Target, *, moved: bool) -> Target:
    """The encoder of ``base`` under a head of two layers; with ``moved``, one statistics layer was trained too."""
    module = copy.deepcopy(base.module)
    assert isinstance(module, nn.Sequential)
    module[-1] = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))
    if moved:
        statistics_layers(module)[0][1].running_mean.add_(0.1)  # type: ignore[union-attr]
    return Target(module, base.match)


def test_statistics_of_the_base_count_as_none(base: Target) -> None:
    found = without_inherited(headed(base, moved=False), base)
    assert found.match.data_statistics == 0
    assert found.match.untouched_statistics == base.match.data_statistics
    assert any("--base" in line for line in found.match.evidence)
    for module in (found.module, copy.deepcopy(found.module)):
        assert statistics_layers(module) == []
        assert len(untouched_layers(module)) == 3
    assert displacement(found, base).moved == {}


def test_statistics_that_training_moved_stay(base: Target) -> None:
    found = without_inherited(headed(base, moved=True), base)
    (layer,) = statistics_layers(found.module)
    assert found.match.data_statistics == 2 * layer[1].num_features


def test_a_base_with_other_statistics_changes_nothing(base: Target) -> None:
    other = target_of(convnet(seed=5))
    target = headed(base, moved=False)
    assert without_inherited(target, other) is target
