"""A step recorded on a GPU gives what the same step gives unrecorded; what cannot be recorded is left as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reid_audit.attack.replay import replayed

CUDA = pytest.mark.cuda


def cubes(points: Tensor) -> Tensor:
    return points.pow(3).sum(1)


def positive(points: Tensor) -> Tensor:
    return points[points > 0].sum()[None]


def test_a_processor_needs_no_recording() -> None:
    assert replayed(cubes, torch.zeros(2, 3)) is cubes


@CUDA
def test_values_and_gradients_are_those_of_the_function() -> None:
    recorded = replayed(cubes, torch.zeros(2, 3, device="cuda"))
    assert recorded is not cubes
    for start in (1.0, -2.0):
        points = torch.full((2, 3), start, device="cuda", requires_grad=True)
        found = recorded(points)
        torch.autograd.backward(found.sum())
        assert points.grad is not None
        torch.testing.assert_close(found.detach(), cubes(points.detach()))
        torch.testing.assert_close(points.grad, 3 * points.detach().square())


@CUDA
def test_a_function_that_looks_at_values_is_left_as_it_is() -> None:
    points = torch.tensor([[1.0, -1.0], [2.0, 3.0]], device="cuda", requires_grad=True)
    kept = replayed(positive, points)
    assert kept is positive
    assert float(kept(points)) == 6.0
