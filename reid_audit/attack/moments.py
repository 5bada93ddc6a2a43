"""`moments`: joint full-rank reconstruction from what the parameters remember, under a Gaussian prior.

The batch of particles is the unknown; each group of particles is one hypothesis about how many training images the
statistics stand for, and all groups share each forward pass. Related work: Yin et al., DeepInversion (CVPR 2020),
which matches the same statistics without a noise model, in pixel space.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.objectives import Objective, objective_for
from reid_audit.attack.refinement import RefineSettings, finish, hypothesis_groups, refine
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError
from reid_audit.observer import Observer

SAMPLES = 2048
"""Images of the prior that a measured metric is fitted on: 512 are too few (docs/power.md)."""


def moments(
    task: AttackTask,
    *,
    generator: torch.Generator,
    meter: Meter,
    observer: Observer,
    settings: RefineSettings | None = None,
    start: Tensor | None = None,
) -> Reconstruction:
    """Reconstruct the batch in the full-rank space; [sum(particles), C, H, W] images.

    ``start`` [sum(particles), D]: latents to begin with; random without.
    """
    settings = settings or RefineSettings()
    return from_noise(
        task,
        likelihood(task, settings),
        generator=generator,
        meter=meter,
        observer=observer,
        stage="moments",
        settings=settings,
        start=start,
    )


def from_noise(
    task: AttackTask,
    objective: Objective,
    *,
    generator: torch.Generator,
    meter: Meter,
    observer: Observer,
    stage: str,
    settings: RefineSettings,
    start: Tensor | None = None,
) -> Reconstruction:
    """The most likely batch under ``objective`` and the full-rank prior, from ``start`` or a random one."""
    if start is None:
        start = settings.start_scale * task.space.sample_latents(sum(task.budget.particles), generator)
    refined = refine(
        task,
        task.space,
        start,
        objective,
        steps=task.budget.steps,
        meter=meter,
        observer=observer,
        stage=stage,
        settings=settings,
    )
    with torch.no_grad():
        images = task.space.decode(refined.latents)
    return finish(task, images, objective, refined.trajectory, meter, refined.stopped_by)


def likelihood(task: AttackTask, settings: RefineSettings) -> Objective:
    """The objective over the task's hypotheses. Raises ArchitectureError where the network remembers nothing."""
    groups = hypothesis_groups(task.budget.particles)
    objective = objective_for(
        task.target,
        groups,
        task.inputs(prior_images(task, SAMPLES) if settings.measured else task.space.mean[None]),
        skipped=settings.skipped,
        floors=settings.floors,
        measured=settings.measured,
        deep=settings.deep,
    )
    if objective is None:
        raise ArchitectureError(
            f"{task.target.match.name} holds neither data statistics nor a classifier to reconstruct from",
            closest="BatchNorm running statistics, or a linear classification head",
            remedy="audit the checkpoint that was trained with its head, or name it with --arch-factory",
        )
    return objective


def prior_images(task: AttackTask, count: int) -> Tensor:
    """[count, C, H, W] always the same draw: what is measured on it belongs to the prior, not to a run."""
    generator = torch.Generator(device=task.space.mean.device).manual_seed(0)
    with torch.no_grad():
        return task.space.decode(task.space.sample_latents(count, generator)).clamp(0.0, 1.0)
