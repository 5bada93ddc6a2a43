"""Stage 1 of two-stage: fine-tune the generator until its samples match what the parameters remember.

L = L_stat + 0.1 L_real + 0.01 |dtheta|^2 / |theta0|^2 + 0.1 L_div + 0.5 KL(mean p || uniform) + 1e-5 TV.
L_stat = log(1 + moment energy of one batch of samples), which keeps one learning rate usable from 1e6 down to 1e2;
networks without BatchNorm use the head's energy.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.attack.interface import AttackTask
from reid_audit.attack.objectives import Objective, objective_for
from reid_audit.budget import Meter
from reid_audit.network.heads import logits_of
from reid_audit.observer import Observer, StageAdvanced, StageEnded, StageStarted
from reid_audit.prior.pggan import PgganPrior

STAGE = "stage 1: generator"


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """How stage 1 optimises, and when it stops."""

    steps: int = 150
    batch: int = 32
    rate: float = 2e-3
    blocks: int = 2
    """How many of the last blocks (and output layers) move; the rest stays as published."""
    patience: int = 50
    least_gain: float = 0.01
    """Stop when the loss has fallen by less than this share in ``patience`` steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """The tuned prior and the loss on the way."""

    prior: PgganPrior
    losses: tuple[float, ...]


def tune_generator(
    task: AttackTask,
    prior: PgganPrior,
    *,
    generator: torch.Generator,
    meter: Meter,
    observer: Observer,
    settings: TuningSettings,
) -> Tuned:
    """Fine-tune a copy of the generator's last blocks, and return it in the state whose loss was the lowest.

    It ends when the meter does, or when the loss has stalled.
    """
    tuned = prior.tuned(copy.deepcopy(prior.network))
    moving = unfreeze_last(tuned.network, settings.blocks)
    anchor = [weight.detach().clone() for weight in moving]
    scale = sum(float(weight.square().sum()) for weight in anchor)
    with torch.no_grad():
        probe = task.inputs(prior.decode(prior.sample_latents(1, generator)))
    objective = objective_for(task.target, torch.zeros(settings.batch, dtype=torch.int64), probe)
    optimiser = torch.optim.Adam(moving, lr=settings.rate, betas=(0.0, 0.99))
    losses: list[float] = []
    best, best_state = float("inf"), copy.deepcopy(tuned.network.state_dict())
    observer.notice(StageStarted(STAGE, settings.steps))
    for step in range(settings.steps):
        latents = prior.sample_latents(settings.batch, generator)
        drift = torch.stack([(w - a).square().sum() for w, a in zip(moving, anchor, strict=True)]).sum() / scale
        loss = sample_loss(task, tuned, objective, latents) + 0.01 * drift
        losses.append(float(loss.detach()))
        if losses[-1] < best:
            best, best_state = losses[-1], copy.deepcopy(tuned.network.state_dict())
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        observer.notice(StageAdvanced(STAGE, step + 1, losses[-1]))
        if meter.tick() is not None or stalled(losses, settings):
            break
    tuned.network.load_state_dict(best_state)
    tuned.network.requires_grad_(False)
    observer.notice(StageEnded(STAGE, f"loss {losses[0]:.3g} to {best:.3g}"))
    return Tuned(tuned, tuple(losses))


def sample_loss(task: AttackTask, prior: PgganPrior, objective: Objective | None, latents: Tensor) -> Tensor:
    """The loss (scalar) of one batch of latents [N, D], without the term that holds the weights near their start."""
    images = prior.decode(latents)
    inputs = task.inputs(images)
    loss = 1e-5 * total_variation(images) + 0.1 * diversity(images, latents)
    if objective is not None:
        loss = loss + torch.log1p(objective.energy(inputs).sum())
    if task.target.match.head == "softmax":
        loss = loss + 0.5 * class_balance(logits_of(task.target.module(inputs)))
    realness = prior.realness(images)
    if realness is not None:
        loss = loss + 0.1 * functional.softplus(-realness).mean()
    return loss


def class_balance(logits: Tensor) -> Tensor:
    """Divergence KL(mean of the predicted distributions || uniform) of logits [N, K]; a scalar, 0 where balanced."""
    mean = logits.softmax(1).mean(0).clamp_min(1e-8)
    return (mean * (mean.log() + torch.log(mean.new_tensor(float(len(mean)))))).sum()


def diversity(images: Tensor, latents: Tensor) -> Tensor:
    """Penalty on samples that are more alike than their latents: mean of relu(0.05 - |x_i - x_j| / |z_i - z_j|).

    It is taken over neighbours in the batch, images [N, C, H, W] and latents [N, D], by mean absolute differences.
    """
    apart = (images - images.roll(1, 0)).abs().flatten(1).mean(1)
    distance = (latents - latents.roll(1, 0)).abs().mean(1).clamp_min(1e-6)
    return functional.relu(0.05 - apart / distance).mean()


def total_variation(images: Tensor) -> Tensor:
    """Summed absolute differences of neighbouring pixels of images [N, C, H, W], mean over the images."""
    rows = (images[..., 1:, :] - images[..., :-1, :]).abs().sum()
    columns = (images[..., :, 1:] - images[..., :, :-1]).abs().sum()
    return (rows + columns) / len(images)


def unfreeze_last(network: nn.Module, blocks: int) -> list[nn.Parameter]:
    """Freeze the network but for the last ``blocks`` children of every module list, and return what may still move.

    A network without module lists moves as a whole.
    """
    network.requires_grad_(False)
    lists = [list(child)[-blocks:] for child in network.children() if isinstance(child, nn.ModuleList)]
    moving = [weight for parts in lists for part in parts for weight in part.parameters()] or list(network.parameters())
    for weight in moving:
        weight.requires_grad_(True)
    return moving


def stalled(losses: list[float], settings: TuningSettings) -> bool:
    """Whether the mean loss of the last ``patience`` steps gained too little on the ``patience`` before."""
    span = settings.patience
    if len(losses) < 2 * span:
        return False
    before, now = sum(losses[-2 * span : -span]) / span, sum(losses[-span:]) / span
    return before - now < settings.least_gain * abs(before)
