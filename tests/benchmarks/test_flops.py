"""Operations are counted as torch counts them, first and second derivatives included."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.lab.flops import Flops


def differentiated_twice(module: nn.Module, inputs: Tensor) -> None:
    loss = module(inputs).square().sum()
    gradients = torch.autograd.grad(loss, list(module.parameters()), create_graph=True)
    torch.autograd.backward(torch.stack([part.square().sum() for part in gradients]).sum())


def test_counts_are_those_of_torch() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 6 * 6, 2))
    inputs = torch.rand(3, 1, 8, 8, requires_grad=True)
    with FlopCounterMode(display=False) as theirs:
        differentiated_twice(module, inputs)
    with Flops() as ours:
        differentiated_twice(module, inputs)
    assert ours.total == theirs.get_total_flops() > 0
