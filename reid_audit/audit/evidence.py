"""Reconstructions and films -> measurements. Called only after every reconstruction is frozen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.audit.attack_runs import numpy_for
from reid_audit.audit.cohorts import Canaries, Pooled
from reid_audit.budget import Pace
from reid_audit.cohort import Cohort
from reid_audit.network.difference import displacement
from reid_audit.network.ordinary import prior_batches
from reid_audit.network.reading import Inputs
from reid_audit.records import Curve, Histogram, Measurement, Metric
from reid_audit.score.demographics import DemographicOutcome, demographics
from reid_audit.score.distribution import distribution
from reid_audit.score.exchangeability import exchangeability
from reid_audit.score.likelihood import LikelyOutcome, likely_samples
from reid_audit.score.linkage import LINKAGE, LinkageOutcome, attack_power, link, negative_control
from reid_audit.score.membership.families import MembershipScores, membership_scores
from reid_audit.score.membership.inference import MEMBERSHIP, MembershipOutcome, membership, membership_control
from reid_audit.score.predictors import Predictors
from reid_audit.score.sensitivity import scorer_sensitivity
from reid_audit.score.similarity import MatchSpace, aligned_ncc, match_scores

ORDINARY = 256
"""Images of the prior that films are compared with where the base is known."""
PERMUTATIONS = 9999
COMPARED = (*LINKAGE, *MEMBERSHIP, Metric.NEGATIVE_CONTROL_P, Metric.EXCHANGEABILITY_P, Metric.SCORER_SENSITIVITY)
"""What needs films of both sides, beside the likely samples and the demographics."""


def linkage(space: MatchSpace, images: Tensor, pooled: Pooled, *, seed: int, level: float) -> LinkageOutcome:
    """T1 to T4 for the images of one attack run."""
    return link(
        match_scores(space, images, pooled.films).double().numpy(),
        pooled.patients,
        pooled.is_member,
        pooled.strata,
        numpy_for(seed, "linkage"),
        second=aligned_ncc(images, pooled.films).double().numpy(),
        permutations=PERMUTATIONS,
        level=level,
    )


def membership_of(
    task: AttackTask, films: Tensor, labels: NDArray[np.str_], pace: Pace | None = None
) -> MembershipScores:
    """Membership scores of films [N, C, H, W] in [0, 1] under the task's weights; labels [N], "" where unknown.

    Raises OutOfTime where ``pace`` ends.
    """
    device = task.space.mean.device
    inputs = Inputs(films, lambda part: task.inputs(part.to(device)))
    if task.base is None:
        return membership_scores(task.target, inputs, labels, pace=pace)
    ordinary = prior_batches(task.space, task.inputs, ORDINARY)
    path = displacement(task.target, task.base)
    return membership_scores(task.target, inputs, labels, path=path, ordinary=ordinary, pace=pace)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Measurements of the main comparison, and the restricted outcomes behind them."""

    measurements: tuple[Measurement, ...]
    histograms: tuple[Histogram, ...]
    curves: tuple[Curve, ...]
    linkage: LinkageOutcome
    likely: LikelyOutcome
    membership: MembershipOutcome
    explaining: float | None
    """``MembershipScores.explaining`` of the pooled films."""
    demographics: DemographicOutcome
    read: NDArray[np.int64]
    """Rows of the reconstructions whose age and sex were read: the likely samples, or all where there are none."""
    pooled: Pooled


def compare(
    task: AttackTask,
    space: MatchSpace,
    prior_films: Tensor,
    pooled: Pooled,
    made: Reconstruction,
    control: Reconstruction,
    *,
    seed: int,
    level: float,
    predictors: Predictors | None = None,
) -> Found:
    """Everything that compares frozen reconstructions, or the weights, with films of both sides."""
    linked = linkage(space, made.images, pooled, seed=seed, level=level)
    null = linkage(space, control.images[: len(made.images)], pooled, seed=seed, level=level)
    likely = likely_samples(
        space,
        made.images,
        made.energies,
        control.energies,
        pooled.films,
        pooled.patients,
        pooled.is_member,
        pooled.strata,
        numpy_for(seed, "likely"),
    )
    read, shown = readings(predictors, space, pooled, made, likely, seed=seed)
    known = membership_of(task, pooled.films, pooled.labels)
    recognised = membership(
        known.scores,
        pooled.patients,
        pooled.is_member,
        pooled.strata,
        numpy_for(seed, "membership"),
    )
    checks = (
        negative_control(null),
        exchangeability(
            space, pooled.films, pooled.patients, pooled.is_member, pooled.strata, numpy_for(seed, "exchangeability")
        ),
        scorer_sensitivity(
            space, pooled.films, pooled.patients, pooled.is_member, prior_films, numpy_for(seed, "sensitivity")
        ),
    )
    return Found(
        measurements=(
            *linked.measurements,
            *likely.measurements,
            *recognised.measurements,
            *shown.measurements,
            *checks,
        ),
        histograms=linked.histograms,
        curves=recognised.curves,
        linkage=linked,
        likely=likely,
        membership=recognised,
        explaining=known.explaining,
        demographics=shown,
        read=read,
        pooled=pooled,
    )


def readings(
    predictors: Predictors | None,
    space: MatchSpace,
    pooled: Pooled,
    made: Reconstruction,
    likely: LikelyOutcome,
    *,
    seed: int,
) -> tuple[NDArray[np.int64], DemographicOutcome]:
    """Age and sex of the likely samples, or of all reconstructions where there are none; their rows first."""
    rows = likely.indices if likely.indices.size else np.arange(len(made.images))
    found = demographics(
        predictors,
        space,
        made.images[torch.from_numpy(rows)],
        pooled.films,
        pooled.ages,
        pooled.sexes,
        pooled.patients,
        pooled.is_member,
        numpy_for(seed, "demographics"),
        strata=pooled.strata,
    )
    return rows, found


def power(
    task: AttackTask,
    space: MatchSpace,
    holdout: Cohort,
    canaries: Canaries,
    made: Reconstruction,
    *,
    seed: int,
    level: float,
) -> tuple[Measurement, ...]:
    """``attack_power`` and ``membership_control``: would the same attack and the same score find the canaries?

    ``task`` holds the copy that memorised them.
    """
    pooled = Pooled.canaries(holdout, canaries)
    linked = linkage(space, made.images, pooled, seed=seed, level=level)
    scores = membership_of(task, pooled.films, pooled.labels).scores
    return attack_power(linked), membership_control(scores, pooled.patients, pooled.is_member)


def shifts(
    task: AttackTask, prior_films: Tensor, made: Reconstruction, reference: Tensor | None, *, seed: int
) -> tuple[Measurement, ...]:
    """Entropy, kurtosis and FID of the study's table: original, tuned, reference."""
    count = max(256, len(made.images))
    generator = torch.Generator(device=task.space.mean.device).manual_seed(seed)
    with torch.no_grad():
        samples = task.prior.decode(task.prior.sample_latents(count, generator)).clamp(0.0, 1.0).cpu()
    tuned = made.tuned_samples if made.tuned_samples is not None else made.images
    return distribution(prior_films, samples, tuned, reference, numpy_for(seed, "distribution"))
