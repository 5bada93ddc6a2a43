"""Positive control: a copy of the audited network that has just memorised a few hold-out films."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.budget import Pace, unhurried
from reid_audit.network.answers import mean_loss, outputs_of
from reid_audit.network.batchnorm import statistics_layers, untouched_layers
from reid_audit.network.heads import answers, labels_of, logits_of, meaning, summed_loss

STEPS = 50
RATE = 1e-4


def with_canaries(
    target: Target,
    inputs: Tensor,
    generator: torch.Generator,
    *,
    wanted: Tensor | None = None,
    steps: int = STEPS,
    rate: float = RATE,
    pace: Pace | None = None,
) -> Target:
    """Fine-tune a copy on ``inputs`` [n, C, H, W]: full-batch Adam, BatchNorm in training mode, random labels.

    Layers whose statistics were never updated stay as they are: the canaries must not be easier to find than the
    training films are.

    wanted [n, *]: the answers that are taught; without them labels are balanced, and a regression is given its own
    answers, dealt out anew, so that its numbers keep their scale.

    After 50 steps at momentum 0.1 half a percent of the old running statistics is left: the copy remembers the canaries
    and little else, which is the leak an attack with any power must find. Raises OutOfTime.
    """
    module = copy.deepcopy(target.module).train()
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    for _, layer in untouched_layers(module):
        layer.eval()
    kind = target.match.head
    taught = _dealt_out(target, inputs, generator) if wanted is None else wanted.to(inputs.device)
    module.requires_grad_(True)
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    momenta = [(layer, layer.momentum) for _, layer in statistics_layers(module)]
    for layer, momentum in momenta:
        layer.momentum = 0.1 if momentum is None else max(0.1, momentum)
    for _ in (pace or unhurried()).over("planting canaries", range(steps), steps):
        outputs = module(inputs)
        loss = (
            summed_loss(meaning(kind, taught.shape[1]), logits_of(outputs), taught) / len(inputs)
            if wanted is None
            else mean_loss(kind, outputs_of(outputs), taught)
        )
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    for layer, momentum in momenta:
        layer.momentum = momentum
    return replace(target, module=module.eval().requires_grad_(False))


def _dealt_out(target: Target, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """[n, K] answers by chance."""
    with torch.no_grad():
        before = logits_of(target.module(inputs))
    width = before.shape[1]
    kind, order = meaning(target.match.head, width), torch.randperm(len(inputs), generator=generator).to(inputs.device)
    return before[order] if kind == "regression" else answers(order % (labels_of(kind, width) or width), width)
