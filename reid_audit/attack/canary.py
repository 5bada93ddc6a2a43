"""Positive control: a copy of the audited network that has just memorised a few hold-out films."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.attack.batchnorm import statistics_layers
from reid_audit.attack.objectives import logits_of

STEPS = 50
RATE = 1e-4


def with_canaries(
    target: Target, inputs: Tensor, generator: torch.Generator, *, steps: int = STEPS, rate: float = RATE
) -> Target:
    """Fine-tune a copy on ``inputs`` [n, C, H, W]: full-batch Adam, BatchNorm in training mode, balanced random labels.

    After 50 steps at momentum 0.1 half a percent of the old running statistics is left: the copy remembers the canaries
    and little else, which is the leak an attack with any power must find.
    """
    module = copy.deepcopy(target.module).train()
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    with torch.no_grad():
        width = logits_of(target.module(inputs[:1])).shape[1]
    labels = torch.randperm(len(inputs), generator=generator).to(inputs.device) % max(2, width)
    module.requires_grad_(True)
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    momenta = [(layer, layer.momentum) for _, layer in statistics_layers(module)]
    for layer, momentum in momenta:
        layer.momentum = 0.1 if momentum is None else max(0.1, momentum)
    for _ in range(steps):
        logits = logits_of(module(inputs))
        loss = (
            functional.cross_entropy(logits, labels)
            if width > 1
            else functional.binary_cross_entropy_with_logits(logits[:, 0], labels.float())
        )
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    for layer, momentum in momenta:
        layer.momentum = momentum
    return replace(target, module=module.eval().requires_grad_(False))
