"""From attack runs and films to measurements. Called only after every reconstruction is frozen."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.audit.allowance import Allowance, late, unlimited
from reid_audit.audit.attack_runs import numpy_for
from reid_audit.audit.recognition import Recognition, recognition, seconds_of_enough, unasked
from reid_audit.audit.references import Beside
from reid_audit.imaging.stack import Chosen, Stack
from reid_audit.records import Curve, Histogram, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.alone import ALONE, Entry, Images
from reid_audit.score.comparison import Comparison
from reid_audit.score.demographics import DEMOGRAPHICS, DemographicOutcome, demographics, without_demographics
from reid_audit.score.distribution import DISTRIBUTION, distribution
from reid_audit.score.encoder import (
    ENCODER,
    Encoded,
    Encoder,
    embedded_by,
    encoded_linkage,
    encoded_measurements,
    encoder_linkage,
)
from reid_audit.score.likelihood import LIKELY, LikelyOutcome, likely_samples
from reid_audit.score.linkage import LINKAGE, LinkageOutcome, attack_power, linkage, negative_control
from reid_audit.score.membership.inference import MEMBERSHIP
from reid_audit.score.membership.subgroups import SUBGROUPS
from reid_audit.score.predictors import Predictors

PERMUTATIONS = 9999
MOST_SHOWN = 4096
"""Training films, drawn by chance, that entropy, kurtosis and FID are about."""
FIRST = (Metric.EXCHANGEABILITY_P,)
"""Tests without which nobody knows whether a difference between the cohorts is one of kind."""
OPTIONAL = ("likely samples", "age and sex", "distribution")
"""Comparisons without which there can be a PASS, but that can FAIL a network."""
COMPARED = (
    *LINKAGE,
    ENCODER[0],
    *MEMBERSHIP,
    *SUBGROUPS,
    Metric.GENERALISATION_GAP,
    Metric.NEGATIVE_CONTROL_P,
    *(test.metric for test in ALONE),
)
"""What needs films of both cohorts, beside the likely samples and the demographics."""


OF_IMAGES = frozenset(
    (*LINKAGE, *ENCODER, *LIKELY, *DEMOGRAPHICS, *DISTRIBUTION, Metric.NEGATIVE_CONTROL_P, Metric.ATTACK_POWER)
)
"""What is said of reconstructions."""


def nothing_rebuilt(measurement: Measurement) -> Measurement:
    """``measurement``, which for want of images is missing as if for want of time, beside a network that stores nothing
    to rebuild any from."""
    if measurement.metric in OF_IMAGES and isinstance(measurement, Unmeasured) and measurement.reason is Reason.BUDGET:
        return Unmeasured(metric=measurement.metric, reason=Reason.NO_DATA_STATISTICS)
    return measurement


def linked(comparison: Comparison, images: Tensor, *, seed: int, level: float) -> LinkageOutcome:
    """The linkage tests of one attack run's images; unmeasured where there was no time to make any."""
    if not len(images):
        return LinkageOutcome(late(*LINKAGE))
    return linkage(comparison, images, numpy_for(seed, "linkage"), permutations=PERMUTATIONS, level=level)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """What every comparison of an audit is made with."""

    seed: int
    level: float
    """False-discovery rate and significance level of the linkage tests."""
    allowed: Allowance = field(default_factory=unlimited)
    """The time that comparisons have."""
    predictors: Callable[[], Predictors | None] = lambda: None
    """What reads age and sex."""
    beside: Beside | None = None
    """Reference models for the films compared."""
    encoder: Encoder | None = None
    """What compares films a second time."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Measurements of the main comparison, and the restricted outcomes behind them."""

    measurements: tuple[Measurement, ...]
    histograms: tuple[Histogram, ...]
    curves: tuple[Curve, ...]
    linkage: LinkageOutcome
    likely: LikelyOutcome
    recognised: Recognition
    demographics: DemographicOutcome
    read: NDArray[np.int64]
    """Rows of the reconstructions whose age and sex were read: the likely samples, or all where there are none."""
    comparison: Comparison
    encoded: Encoded


def compare(
    task: AttackTask,
    comparison: Comparison,
    prior_images: Tensor,
    made: Reconstruction,
    control: Reconstruction,
    terms: Terms,
) -> Found:
    """Everything that compares frozen reconstructions, or the weights, with films of both cohorts.

    What decides comes first, with time that other comparisons and controls would need: whether the cohorts are of one
    kind, without which no comparison of them counts and membership is not asked. What there is no time for is
    unmeasured.
    """
    seed, allowed, films = terms.seed, terms.allowed, len(comparison.images)
    second = allowed.keeping(encoder_seconds(terms, comparison, made, control))

    def linked_in_time(images: Tensor) -> LinkageOutcome:
        make = partial(linked, comparison, images, seed=seed, level=terms.level)
        return allowed.in_time("linkage", films, make, LinkageOutcome(late(*LINKAGE)))

    images = Images(made, control, prior_images)
    enough = seconds_of_enough(task, films, allowed, terms.beside)
    kinds = measured_alone(comparison, images, seed, allowed.first(enough + seconds_of_kinds(allowed, films)), FIRST)
    first, null = linked_in_time(made.images), linked_in_time(control.images[: len(made.images)])
    recognised = unasked(comparison)
    if not any(isinstance(kind, Unmeasured) and kind.reason is Reason.BUDGET for kind in kinds):
        asked = second.before(OPTIONAL, films).first(enough)
        recognised = recognition(task, comparison, asked, seed, terms.beside, level=terms.level)
    others = [test.metric for test in ALONE if test.metric not in FIRST]
    alone = measured_alone(comparison, images, seed, allowed, others)
    encoded = by_encoder(comparison, images, made.embeddings, terms, second)
    likely = LikelyOutcome(late(*LIKELY), np.zeros(0, np.int64), np.zeros(0, np.int64))
    if len(made.images):
        resembled = partial(likely_samples, comparison, made, control, numpy_for(seed, "likely"))
        likely = allowed.in_time("likely samples", films, resembled, likely)
    read, shown = readings(comparison, made, likely, terms)
    measured = (each.measurements for each in (first, likely, recognised, shown, encoded))
    return Found(
        measurements=(*chain.from_iterable(measured), negative_control(null), *kinds, *alone),
        histograms=first.histograms,
        curves=recognised.outcome.curves,
        linkage=first,
        likely=likely,
        recognised=recognised,
        demographics=shown,
        read=read,
        comparison=comparison,
        encoded=encoded,
    )


def encoder_seconds(terms: Terms, comparison: Comparison, made: Reconstruction, control: Reconstruction) -> float:
    """Seconds of passing the films and the images through the encoder; 0 without one."""
    if terms.encoder is None:
        return 0.0
    return terms.encoder.seconds * (len(comparison.images) + len(made.images) + len(control.images))


def by_encoder(
    comparison: Comparison, images: Images, rebuilt: Tensor | None, terms: Terms, allowed: Allowance
) -> Encoded:
    """What the encoder makes of the reconstructions, or of embeddings rebuilt from a head on it; that there is none,
    where none was given. ``allowed`` is less the time that its passes take."""
    if terms.encoder is None:
        return Encoded((Unmeasured(metric=ENCODER[0], reason=Reason.NO_ENCODER),))
    if not len(images.made.images):
        return Encoded(late(*ENCODER))
    rng = numpy_for(terms.seed, "encoder")
    make = partial(encoder_linkage, comparison, terms.encoder, images, rng, level=terms.level, rebuilt=rebuilt)
    return allowed.in_time("encoder", len(comparison.images), make, Encoded(late(*ENCODER)))


def linked_again(found: Found, made: Reconstruction, terms: Terms) -> tuple[Measurement, ...]:
    """The linkage tests of the images of another attack seed, by every scorer that decides."""
    again = linked(found.comparison, made.images, seed=terms.seed, level=terms.level).measurements
    seen = found.encoded
    if seen.comparison is None or seen.encoder is None or not len(made.images):
        return again
    rng = numpy_for(terms.seed, "encoder")
    by_it = encoded_linkage(seen.comparison, embedded_by(seen.encoder, made.images, made.embeddings), rng, terms.level)
    return again + encoded_measurements(by_it, decides=seen.decides)


def seconds_of_kinds(allowed: Allowance, films: int) -> float:
    """Seconds of the tests that come before membership; 0 without a ceiling."""
    return sum(allowed.expected(test.name, films) or 0.0 for test in ALONE if test.metric in FIRST)


def measured_alone(
    comparison: Comparison, images: Images, seed: int, allowed: Allowance, metrics: Collection[Metric]
) -> tuple[Measurement, ...]:
    """Those of ``metrics`` that have a test of their own, such as whether the cohorts are of one kind."""

    def measured(test: Entry) -> Measurement:
        make = partial(test, comparison, images, numpy_for(seed, test.name))
        otherwise: Measurement = late(test.metric)[0]
        return allowed.in_time(test.name, len(comparison.images), make, otherwise)

    return tuple(measured(test) for test in ALONE if test.metric in metrics)


def readings(
    comparison: Comparison, made: Reconstruction, likely: LikelyOutcome, terms: Terms
) -> tuple[NDArray[np.int64], DemographicOutcome]:
    """Age and sex of the likely samples, or of all reconstructions where there are none; their rows come first."""
    rows = likely.indices if likely.indices.size else np.arange(len(made.images))
    late_outcome = DemographicOutcome(without_demographics(Reason.BUDGET))
    if not rows.size:
        return rows, late_outcome

    def read() -> DemographicOutcome:
        images = made.images[torch.from_numpy(rows)]
        return demographics(comparison, images, terms.predictors(), numpy_for(terms.seed, "demographics"))

    return rows, terms.allowed.in_time("age and sex", len(comparison.images), read, late_outcome)


def linked_canaries(planted: Comparison, made: Reconstruction, *, seed: int, level: float) -> Measurement:
    """``attack_power``, the positive control: whether the same attack finds the canaries."""
    return attack_power(linked(planted, made.images, seed=seed, level=level))


def shifts(
    task: AttackTask, prior_images: Tensor, made: Reconstruction, reference: Stack | None, *, seed: int
) -> tuple[Measurement, ...]:
    """Entropy, kurtosis and FID of the study's table: original, tuned, reference."""
    count = max(256, len(made.images))
    generator = torch.Generator(device=task.space.mean.device).manual_seed(seed)
    with torch.no_grad():
        samples = task.prior.decode(task.prior.sample_latents(count, generator)).clamp(0.0, 1.0).cpu()
    tuned = made.tuned_samples if made.tuned_samples is not None else made.images
    rng = numpy_for(seed, "distribution")
    if reference is not None and len(reference) > MOST_SHOWN:
        reference = Chosen(reference, torch.from_numpy(np.sort(rng.permutation(len(reference))[:MOST_SHOWN])))
    found = distribution(prior_images, samples, tuned if len(tuned) else None, reference, rng)
    return found if len(tuned) else tuple(late(m.metric)[0] if is_absent(m) else m for m in found)


def is_absent(measurement: Measurement) -> bool:
    """Whether a measurement is missing because there are no images of the attack."""
    return isinstance(measurement, Unmeasured) and measurement.reason is Reason.NO_GENERATOR
