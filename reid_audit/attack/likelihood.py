"""What every method shares: the likelihood a target offers, the metric it is measured in, the optimiser's settings."""

from __future__ import annotations

from dataclasses import replace

from reid_audit.arch.target import Target
from reid_audit.attack.interface import AttackTask
from reid_audit.attack.metric import LayerMetric, prior_metrics
from reid_audit.attack.objectives import Objective, objective_for
from reid_audit.attack.refinement import MEASURED, RefineSettings, hypothesis_groups
from reid_audit.budget import Pace, unhurried
from reid_audit.errors import ArchitectureError
from reid_audit.network.batchnorm import statistics_layers
from reid_audit.network.heads import classifier
from reid_audit.network.ordinary import prior_batches
from reid_audit.records import ArchMatch


def recipe(task: AttackTask) -> RefineSettings:
    """The optimiser's settings that suit a network with stored statistics, or one without."""
    return MEASURED if statistics_layers(task.target.module) else RefineSettings()


def likelihood(task: AttackTask, settings: RefineSettings) -> Objective:
    """The likelihood of the stored values, for each of the task's hypotheses about the batch size.

    Raises ArchitectureError where the network holds neither statistics of its training data nor a classifier.
    """
    groups = hypothesis_groups(task.budget.particles)
    objective = objective_for(
        task.target,
        groups,
        task.inputs(task.space.mean[None]),
        metrics=(task.metrics or measured_metrics(task)) if settings.measured else None,
    )
    if objective is None:
        raise nothing_to_ask(task.target.match)
    return objective


def holds_images(target: Target) -> bool:
    """Whether there is anything in the weights to rebuild images from: statistics of films, or a classifier."""
    return bool(statistics_layers(target.module)) or classifier(target) is not None


def nothing_to_ask(match: ArchMatch) -> ArchitectureError:
    """The refusal to rebuild images from a network without statistics of its films and without a classifier."""
    return ArchitectureError(
        f"{match.name} holds neither data statistics nor a classifier to reconstruct from",
        closest="BatchNorm running statistics, or a linear classification head",
        remedy="audit the checkpoint that was trained with its head, or name it with --arch-factory",
    )


def with_metrics(task: AttackTask, pace: Pace | None = None) -> AttackTask:
    """The task with its target's metric measured, so that every run that attacks this target shares it.

    Raises OutOfTime.
    """
    return replace(task, metrics=measured_metrics(task, pace) if recipe(task).measured else None)


def measured_metrics(task: AttackTask, pace: Pace | None = None) -> tuple[LayerMetric, ...]:
    """How much the statistics of each layer vary from image to image of the prior.

    Raises ArchitectureError where they are not finite, and OutOfTime.
    """
    batches = prior_batches(task.space, task.inputs, task.samples)
    try:
        return tuple(prior_metrics(task.target.module, batches, task.samples, pace or unhurried()))
    except FloatingPointError as error:
        raise ArchitectureError(
            f"{task.target.match.name} does not give finite numbers for ordinary films: it cannot be attacked",
            closest=f"the statistics of its layer {error}",
            remedy="check that the file is whole, and that --arch and --preprocess are those of the training",
        ) from error
