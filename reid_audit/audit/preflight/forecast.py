"""How long an audit would take on this machine and what it would hold in memory, from a few trial passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.attack.interface import SAMPLES
from reid_audit.audit.attack_runs import NEGATIVE_SIZE
from reid_audit.audit.canary import Planting
from reid_audit.audit.pacing import MOST_ASKED
from reid_audit.audit.preflight.machine import free_disk, free_memory
from reid_audit.audit.preflight.record import Cost
from reid_audit.budget import Clock
from reid_audit.imaging.stack import BLOCK_BYTES
from reid_audit.network.batchnorm import statistics_layers
from reid_audit.records import Policy
from reid_audit.reference.recipe import asked_for, epochs_of
from reid_audit.reference.signals import VIEWS

TRIAL = {"cpu": 4, "cuda": 16}
"""Images of a trial pass: a GPU needs about as long for a few as for a batch."""
TRIAL_EDGE = 384
"""Rows of the matrix whose eigenvectors are timed."""
SCORING_PER_PATIENT = 0.03
"""Seconds of permutations, bootstraps and comparisons for each patient, on one core of 2024."""
TRAINING = 1.5
"""What a training step costs over a gradient with respect to the image."""
EPOCHS = 0.5
"""Share of the epochs allowed that the training of a reference model is thought to take."""
RUNTIME_BYTES = 950 * 2**20
"""Bytes of memory that torch and the libraries around it hold."""
REPORT_BYTES = 64 * 2**20
"""Bytes of disk for reports and the evidence page."""
KEPT = 8
"""Images of full size that are kept for each particle: attack, negative control, power control."""
FLOAT = 4
SMALL_BYTES = 3 * 32**2 * FLOAT
"""Bytes of the small pictures and of the scores of one film that stay in memory."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What this machine needs for one network input, in seconds, and what it holds meanwhile."""

    forward: float
    gradient: float
    """Seconds of a forward pass and of the gradient with respect to the image."""
    activations: int
    """Bytes kept for the gradient of one image."""
    cubic: float
    """Seconds of an eigendecomposition over its edge cubed."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many films and patients there are to read and to compare."""

    films: int
    """Training and hold-out films."""
    patients: int
    prior_images: int = 0
    per_film: float = 0.0
    """Seconds to decode one, as measured."""


def speed_of(target: Target, side: int, device: torch.device, clock: Clock = time.monotonic) -> Speed:
    """Trial passes of random images through ``target`` at ``side`` pixels."""
    module, count = target.module.to(device), TRIAL[device.type]
    images = torch.rand(count, target.match.channels, side, side, device=device)
    with torch.no_grad():
        module(images[:1])  # the first pass allocates and plans
    matrix = torch.randn(TRIAL_EDGE, TRIAL_EDGE, dtype=torch.float64)
    return Speed(
        forward=_timed(lambda: _forward(module, images), device, clock) / count,
        gradient=_timed(lambda: _gradient(module, images), device, clock) / count,
        activations=activations(module, images[:1]),
        cubic=_timed(lambda: torch.linalg.eigh(matrix @ matrix.T), device, clock) / TRIAL_EDGE**3,
    )


def cost_of(target: Target, policy: Policy, load: Load, out: Path, clock: Clock = time.monotonic) -> Cost | None:
    """What the audit costs on this machine; None where the network does not take an input of its side.

    out: the folder of all runs, for the disk.
    """
    device = next(target.module.parameters()).device
    side = target.match.side
    try:
        speed = speed_of(target, side, device, clock)
    except (RuntimeError, ValueError, TypeError):  # another input than images of this side: the audit itself will say
        return None
    particles = sum(policy.budget.particles)
    return Cost(
        network=target.match.name,
        side=side,
        side_by=target.match.side_by,
        stages=stages(target, speed, policy, load),
        memory_bytes=_bytes(target, side, speed, particles, load),
        memory_free=free_memory(device),
        disk_bytes=REPORT_BYTES + KEPT * particles * side**2 * FLOAT,
        disk_free=free_disk(out),
    )


def stages(target: Target, speed: Speed, policy: Policy, load: Load) -> tuple[tuple[str, float], ...]:
    """(stage, seconds) of the method ``moments`` on ``load`` under ``policy``, every control included."""
    particles = sum(policy.budget.particles)
    metric = _metric(target, speed)
    attack = policy.budget.steps * particles * speed.gradient
    planted = policy.controls.attack_power or policy.controls.membership_control
    planting = Planting.of(
        policy.controls.canaries,
        statistics=bool(statistics_layers(target.module)),
        taught=_taught(target, policy, load),
    )
    canaries = planting.shown * TRAINING * speed.gradient + metric + attack
    return (
        ("reading films", (load.films + load.prior_images) * load.per_film),
        ("statistics of the prior", metric),
        ("attack", policy.repeats * attack),
        ("negative control", 2 * NEGATIVE_SIZE * particles * speed.forward),
        ("scoring", load.patients * SCORING_PER_PATIENT + 3 * min(load.films, MOST_ASKED) * speed.forward),
        *((("power control", canaries),) if planted and load.patients else ()),
        *((("reference models", training),) if (training := _references(target, speed, policy, load)) else ()),
    )


def _taught(target: Target, policy: Policy, load: Load) -> bool:
    return bool(load.patients) and asked_for(policy.references, target.match.head)


def _references(target: Target, speed: Speed, policy: Policy, load: Load) -> float:
    """Training on half of the films for half of the epochs the recipe allows, and a look at all in all views; 0 where
    no reference is trained."""
    recipe = policy.references
    if recipe.given or not _taught(target, policy, load):
        return 0.0
    training = EPOCHS * epochs_of(recipe, target.module) * 0.5 * load.films * TRAINING * speed.gradient
    return recipe.count * (training + (1 + VIEWS) * load.films * speed.forward)


def _metric(target: Target, speed: Speed) -> float:
    """Seconds to measure the metric: a pass over the prior's images, and a decomposition for each layer."""
    layers = [2 * layer.num_features for _, layer in statistics_layers(target.module)]
    if not layers:
        return 0.0
    edges = sum(min(SAMPLES, width) ** 3 for width in layers)
    return SAMPLES * speed.forward + edges * speed.cubic


def _bytes(target: Target, side: int, speed: Speed, particles: int, load: Load) -> int:
    """The prior's films with a working copy; of the films compared, small pictures of all, the statistics in two passes
    of those whose membership is asked, and how alike they are; or the attack's widest step."""
    asked = min(load.films, MOST_ASKED)
    films = 2 * load.prior_images * side**2 * FLOAT + load.films * SMALL_BYTES + 3 * BLOCK_BYTES
    statistics = 2 * asked * target.match.data_statistics * FLOAT + 3 * asked**2 * 8
    weights = 4 * sum(value.numel() for value in target.module.parameters()) * FLOAT
    return RUNTIME_BYTES + films + max(statistics, particles * speed.activations) + weights


def _forward(module: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        module(images)


def _gradient(module: nn.Module, images: Tensor) -> None:
    asked = images.clone().requires_grad_(True)
    torch.autograd.backward(_answer(module(asked)).square().mean())


def _answer(output: object) -> Tensor:
    """The first tensor of what a network returns."""
    if isinstance(output, Tensor):
        return output
    parts = list(output.values()) if isinstance(output, dict) else list(output) if isinstance(output, Sequence) else []
    if not parts:
        raise TypeError(f"a network output of type {type(output).__name__} holds no tensor")
    return _answer(parts[0])


def activations(module: nn.Module, image: Tensor) -> int:
    """Bytes that the layers give out for one image."""
    counted = 0

    def count(_: nn.Module, __: tuple[Tensor, ...], output: object) -> None:
        nonlocal counted
        with suppress(TypeError):
            counted += _answer(output).numel() * FLOAT

    hooks = [part.register_forward_hook(count) for part in module.modules() if not list(part.children())]
    try:
        _forward(module, image)
    finally:
        for hook in hooks:
            hook.remove()
    return counted


def _timed(work: Callable[[], object], device: torch.device, clock: Clock) -> float:
    """Seconds of ``work``; on CUDA of the second time, since the first one chooses and loads kernels."""
    if device.type == "cuda":
        work()
        torch.cuda.synchronize(device)
    began = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - began
