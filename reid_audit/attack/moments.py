"""`moments`: joint full-rank reconstruction from what the parameters remember, under a Gaussian prior.

The batch of particles is the unknown; each group of particles is one hypothesis about how many training images the
statistics stand for, and all groups share each forward pass. Related work: Yin et al., DeepInversion (CVPR 2020),
which matches the same statistics without a noise model, in pixel space.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.metric import LayerMetric, prior_metrics
from reid_audit.attack.objectives import Objective, objective_for
from reid_audit.attack.refinement import MEASURED, RefineSettings, finish, hypothesis_groups, refine
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError
from reid_audit.network.batchnorm import statistics_layers
from reid_audit.network.ordinary import prior_batches
from reid_audit.observer import Observer


def recipe(task: AttackTask) -> RefineSettings:
    """The settings that suit what the network remembers."""
    return MEASURED if statistics_layers(task.target.module) else RefineSettings()


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

    ``settings``: the recipe without. ``start`` [sum(particles), D]: latents to begin with; random without.
    """
    settings = settings or recipe(task)
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
        generator=generator,
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
        task.inputs(task.space.mean[None]),
        metrics=(task.metrics or measured_metrics(task)) if settings.measured else None,
        skipped=settings.skipped,
        floors=settings.floors,
        deep=settings.deep,
    )
    if objective is None:
        raise ArchitectureError(
            f"{task.target.match.name} holds neither data statistics nor a classifier to reconstruct from",
            closest="BatchNorm running statistics, or a linear classification head",
            remedy="audit the checkpoint that was trained with its head, or name it with --arch-factory",
        )
    return objective


def with_metrics(task: AttackTask) -> AttackTask:
    """The task with its target's metric measured, so that every arm that attacks this target shares it."""
    return replace(task, metrics=measured_metrics(task) if recipe(task).measured else None)


def measured_metrics(task: AttackTask) -> tuple[LayerMetric, ...]:
    """How much the statistics of each layer vary from image to image of the prior.

    Raises ArchitectureError where they are not finite.
    """
    try:
        return tuple(prior_metrics(task.target.module, prior_batches(task.space, task.inputs, task.samples)))
    except FloatingPointError as error:
        raise ArchitectureError(
            f"{task.target.match.name} does not give finite numbers for ordinary films: it cannot be attacked",
            closest=f"the statistics of its layer {error}",
            remedy="check that the file is whole, and that --arch and --preprocess are those of the training",
        ) from error
