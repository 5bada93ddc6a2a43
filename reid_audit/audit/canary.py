"""Positive control: a copy of the audited network that has just memorised a few hold-out films."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.budget import Pace, unhurried
from reid_audit.network.answers import asked_as, log_odds, mean_loss, outputs_of
from reid_audit.network.batchnorm import statistics_layers, untouched_layers
from reid_audit.network.heads import HeadKind, answers, labels_of, logits_of, meaning, summed_loss

STEPS = 50
RATE = 1e-4
KEPT = 16
"""Ordinary images of one step."""
MOST_STEPS = 400
"""Further steps that canaries may take to be known where no statistics remember them."""
CLIPPED = 1.0
"""Norm to which gradients are clipped before a step of gradient descent, which has no scale of its own."""
KNOWN = 4.0
"""Log odds of the taught answer, in nats, from which a canary counts as known: it is answered with 98 %."""


@dataclass(frozen=True, slots=True)
class Course:
    """How long, how fast and by which rule canaries are learned."""

    steps: int = STEPS
    rate: float = RATE
    rule: Literal["adam", "sgd"] = "adam"
    """Adam, or gradient descent with a momentum of 0.9."""


ADAM, DESCENT = Course(), Course(rate=3e-2, rule="sgd")
"""How the audited network was taught is not known, so that its copies are taught either way."""


@dataclass(frozen=True, slots=True)
class Planting:
    """How much planting has to do at most, before it begins."""

    copies: int
    """Of the network: by either rule where no statistics remember the canaries and references were taught."""
    shown: int
    """Images that all copies see, over all steps."""

    @classmethod
    def of(cls, canaries: int, *, statistics: bool, taught: bool) -> Planting:
        """The work of ``canaries`` films in a network with or without ``statistics``, beside references that were
        ``taught`` or without.

        All further steps are counted, which gradient descent may take, and films as shown mirrored too, as they are
        where the references saw them so.
        """
        if statistics or not taught:
            return cls(1, STEPS * canaries)
        return cls(2, 2 * (STEPS + MOST_STEPS) * (2 * canaries + KEPT))


def with_canaries(
    target: Target,
    inputs: Tensor,
    generator: torch.Generator,
    *,
    wanted: Tensor | None = None,
    ordinary: Tensor | None = None,
    course: Course = ADAM,
    pace: Pace | None = None,
) -> Target:
    """Fine-tune a copy on ``inputs`` [n, C, H, W]: full batches, BatchNorm in training mode, random labels.

    Layers whose statistics were never updated stay as they are: the canaries must not be easier to find than the
    training films are.

    wanted [n, *]: the answers that are taught; without them labels are balanced, and a regression is given its own
    answers, dealt out anew, so that its numbers keep their scale.

    After 50 steps at momentum 0.1 half a percent of the old running statistics is left: the copy remembers the canaries
    and little else, which is the leak an attack with any power must find. A copy without statistics goes on until it
    knows every taught answer: what it has not learned no score could find.

    ordinary [N, C, H, W]: network input of other images, ``KEPT`` of which are shown at each step, in turn, with the
    network's own outputs before: a few films alone would make it sure of everything, and the canaries would be lost
    among the others. Raises OutOfTime.
    """
    module = _in_training(target)
    kind = target.match.head
    taught = _dealt_out(target, inputs, generator) if wanted is None else wanted.to(inputs.device)
    module.requires_grad_(True)
    optimiser = _optimiser(module, course)
    momenta = [(layer, layer.momentum) for _, layer in statistics_layers(module)]
    for layer, momentum in momenta:
        layer.momentum = 0.1 if momentum is None else max(0.1, momentum)
    pace = pace or unhurried()
    kept = None if ordinary is None else _kept_answers(target, module, ordinary)

    def step() -> Tensor:
        outputs = module(inputs)
        loss = (
            summed_loss(meaning(kind, taught.shape[1]), logits_of(outputs), taught) / len(inputs)
            if wanted is None
            else mean_loss(kind, outputs_of(outputs), taught)
        )
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss if kept is None else loss + next(kept))
        if course.rule == "sgd":
            nn.utils.clip_grad_norm_(module.parameters(), CLIPPED)
        optimiser.step()
        return outputs_of(outputs).detach()

    for _ in pace.over("planting canaries", range(course.steps), course.steps):
        step()
    if wanted is not None and not momenta:
        for _ in pace.over("planting canaries: until they are known", range(MOST_STEPS), MOST_STEPS):
            if _known(kind, step(), taught):
                break
    for layer, momentum in momenta:
        layer.momentum = momentum
    return replace(target, module=module.eval().requires_grad_(False))


def _optimiser(module: nn.Module, course: Course) -> torch.optim.Optimizer:
    if course.rule == "sgd":
        return torch.optim.SGD(module.parameters(), lr=course.rate, momentum=0.9)
    return torch.optim.Adam(module.parameters(), lr=course.rate)


def _in_training(target: Target) -> nn.Module:
    """A copy in training mode, without dropout and with the statistics left alone that no training has touched."""
    module = copy.deepcopy(target.module).train()
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    for _, layer in untouched_layers(module):
        layer.eval()
    return module


def _kept_answers(target: Target, module: nn.Module, inputs: Tensor) -> Iterator[Tensor]:
    """For ever: how far the outputs of ``module`` for the next few of ``inputs`` are from those of ``target``."""
    parts = torch.split(inputs, KEPT)
    with torch.no_grad():
        before = [outputs_of(target.module(part)) for part in parts]
    for part, wanted in itertools.cycle(zip(parts, before, strict=True)):
        yield (outputs_of(module(part)) - wanted).square().mean()


def _known(kind: HeadKind, outputs: Tensor, taught: Tensor) -> bool:
    """Whether every canary is answered as taught, and surely; numbers have no such scale and count as known."""
    return asked_as(kind, outputs) == "regression" or float(log_odds(kind, outputs, taught).min()) >= KNOWN


def _dealt_out(target: Target, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """[n, K] answers by chance."""
    with torch.no_grad():
        before = logits_of(target.module(inputs))
    width = before.shape[1]
    kind, order = meaning(target.match.head, width), torch.randperm(len(inputs), generator=generator).to(inputs.device)
    return before[order] if kind == "regression" else answers(order % (labels_of(kind, width) or width), width)
