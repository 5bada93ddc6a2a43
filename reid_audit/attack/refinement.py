"""The optimiser: the most probable batch of latents given the parameters (maximum a posteriori).

It minimises the energy of the parameters, divided by a falling temperature, plus |z|^2 / 2 of the latents' prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.objectives import Objective
from reid_audit.attack.outcome import freeze
from reid_audit.attack.schedules import cosine_ramp, tempering
from reid_audit.attack.slope import Slope
from reid_audit.budget import Meter
from reid_audit.observer import Observer, SilentObserver, StageAdvanced, StageEnded, StageStarted
from reid_audit.prior.interface import Decoder
from reid_audit.records import StoppedBy


@dataclass(frozen=True, slots=True)
class RefineSettings:
    """Rates and temperatures of the optimiser. The defaults suit the plain distance and networks without statistics."""

    rate: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    start_scale: float = 0.3
    """Starting latents are this many standard deviations wide."""
    jitter: float = 0.0
    """Standard deviation of fresh noise on the latents at every step: it passes over optima as narrow as one image."""
    hottest: float = 1e4
    """Temperature by which the energy is divided at the first step."""
    coldest: float = 0.05
    """Temperature at the last step."""
    measured: bool = False
    """Whether statistics are compared in a metric measured on the prior (metric.py) instead of the plain distance."""


MEASURED = RefineSettings(rate=0.2, hottest=2.5, coldest=2.5e-6, measured=True)
"""The recipe for stored statistics, with the rate and temperatures that suit its metric (docs/tuning.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """One run of the optimiser: what it is called, how long it may go on, its settings, and who hears of it."""

    stage: str
    """Name under which progress is reported."""
    steps: int
    settings: RefineSettings
    meter: Meter
    observer: Observer = field(default_factory=SilentObserver)


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """Latents [N, D] after the optimisation, batch energies on the way, and why it ended."""

    latents: Tensor
    trajectory: tuple[tuple[int, float], ...]
    stopped_by: StoppedBy


def refine(
    task: AttackTask,
    prior: Decoder,
    latents: Tensor,
    objective: Objective,
    descent: Descent,
    generator: torch.Generator | None = None,
) -> Refined:
    """Minimise energy / temperature + |z|^2 / 2 over ``latents`` [N, D], jointly within the objective's groups.

    Adam follows a cosine rate, and the temperature falls geometrically over the first 80 % of the steps. ``generator``
    draws the jitter.
    """
    settings, steps, stage, observer = descent.settings, descent.steps, descent.stage, descent.observer
    latents = latents.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([latents], lr=settings.rate, betas=settings.betas)
    schedule = zip(
        cosine_ramp(steps, peak=settings.rate),
        tempering(steps, start=settings.hottest, end=settings.coldest),
        strict=True,
    )
    slope = Slope(task, prior, objective, latents, observer)
    trajectory: list[tuple[int, float]] = []
    stopped = StoppedBy.COMPLETE
    observer.notice(StageStarted(stage, steps))
    for step, (rate, heat) in enumerate(schedule):
        optimiser.param_groups[0]["lr"] = rate
        energies = slope.descend(shaken(latents, settings.jitter, generator), heat)
        optimiser.step()
        if step % max(1, steps // 100) == 0 or step == steps - 1:
            trajectory.append((step, float(energies.detach().mean())))
            observer.notice(StageAdvanced(stage, step + 1, trajectory[-1][1]))
        ended = descent.meter.tick()
        if ended is not None and step < steps - 1:
            stopped = ended
            break
    observer.notice(StageEnded(stage, f"energy {trajectory[0][1]:.3g} to {trajectory[-1][1]:.3g}"))
    return Refined(latents.detach(), tuple(trajectory), stopped)


def shaken(latents: Tensor, jitter: float, generator: torch.Generator | None) -> Tensor:
    """``latents`` [N, D] with fresh normal noise whose standard deviation is ``jitter``."""
    if not jitter:
        return latents
    return latents + jitter * torch.randn(latents.shape, generator=generator, device=latents.device)


def hypothesis_groups(particles: Sequence[int]) -> Tensor:
    """[sum(particles)] int64: the number of the batch-size hypothesis that each particle belongs to."""
    return torch.repeat_interleave(torch.arange(len(particles)), torch.tensor(particles))


def finish(
    task: AttackTask,
    images: Tensor,
    objective: Objective,
    trajectory: Sequence[tuple[int, float]],
    meter: Meter,
    stopped_by: StoppedBy,
    *,
    tuned_samples: Tensor | None = None,
) -> Reconstruction:
    """The reconstruction made of images [N, C, H, W]: each scored alone, frozen and hashed."""
    images = images.detach().clamp(0.0, 1.0)
    return freeze(
        images,
        objective.image_energy(task.inputs(images)),
        torch.tensor(task.budget.particles)[hypothesis_groups(task.budget.particles)],
        trajectory=trajectory,
        spend=meter.spend(stopped_by),
        tuned_samples=tuned_samples,
    )


def from_noise(task: AttackTask, objective: Objective, descent: Descent, generator: torch.Generator) -> Reconstruction:
    """The most likely batch under ``objective`` and the full-rank prior, from a random start."""
    start = descent.settings.start_scale * task.space.sample_latents(sum(task.budget.particles), generator)
    refined = refine(task, task.space, start, objective, descent, generator)
    with torch.no_grad():
        images = task.space.decode(refined.latents)
    return finish(task, images, objective, refined.trajectory, descent.meter, refined.stopped_by)
