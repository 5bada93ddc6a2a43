"""What an audit will cost and give, stage by stage: three steps of its own attack are tried, the rest is arithmetic.

The seconds are those that the audit itself divides its budget by (pacing.py); here they are reported, and summed up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from reid_audit.attack.likelihood import recipe, with_metrics
from reid_audit.audit.attack_runs import NEGATIVE_SIZE, can_rebuild
from reid_audit.audit.pacing import (
    CLOSING,
    ENOUGH,
    MOST_ASKED,
    PER_FILM,
    Speed,
    Work,
    attack_cost,
    control_seconds,
    sampled,
    speed_of,
)
from reid_audit.audit.plan import Plan, Tried, divided, references_seconds, work_of
from reid_audit.audit.preflight.forecast import FLOAT, RUNTIME_BYTES, SMALL_BYTES, activations
from reid_audit.audit.preflight.record import Planned, PlannedStage
from reid_audit.audit.request import AuditRequest, Films
from reid_audit.audit.setup import Setup, control_to_search, prepare
from reid_audit.budget import Meter, OutOfTime, Pace
from reid_audit.imaging.stack import BLOCK_BYTES
from reid_audit.network.batchnorm import statistics_layers
from reid_audit.network.reading import batch_size
from reid_audit.observer import stage
from reid_audit.records import CONTROLS, Metric
from reid_audit.score.alone import ALONE
from reid_audit.score.demographics import DEMOGRAPHICS
from reid_audit.score.distribution import DISTRIBUTION
from reid_audit.score.encoder import ENCODER
from reid_audit.score.likelihood import LIKELY
from reid_audit.score.linkage import LINKAGE
from reid_audit.score.membership.inference import MEMBERSHIP
from reid_audit.score.membership.subgroups import SUBGROUPS

NO_CEILING = 1e9
"""Seconds that stand for as much time as there is work."""
TRIED = 64
"""Images that the metric is measured on for the trial: a step costs the same whatever their number."""
COMPARED: dict[str, tuple[Metric, ...]] = {
    **{test.name: (test.metric,) for test in ALONE},
    "likely samples": LIKELY,
    "age and sex": DEMOGRAPHICS,
    "distribution": DISTRIBUTION,
}
"""Comparisons beside linkage and membership, and what they measure."""
UNATTACKED = frozenset({"distribution", *(test.name for test in ALONE)})
"""Those of them that are made without reconstructions too."""
SEARCH_BYTES = 600 * 2**20
"""Bytes that the search for the preprocessing holds: films in many frames, and what the first layer makes of each."""
DECODED_BYTES = 1 << 27
"""Bytes of films that wait for their segment, or are decoded ahead."""


def foreseen(request: AuditRequest, films: Films, pace: Pace) -> Planned:
    """What ``request`` costs on this machine. Raises AuditError where the audit itself would."""
    meter = pace.meter
    with stage(pace.observer, "network and prior", brief=True):
        setup = prepare(request, films, pace)
    with stage(pace.observer, "trying the network", brief=True):
        speed = speed_of(setup.task, meter)
        tried = tried_attack(request, setup, speed, meter)
    work = work_of(request.policy, setup, films)
    task = setup.task if meter.seconds is None else sampled(setup.task, meter, speed)
    metric = 0.0 if task is None or not recipe(task).measured else speed.metric(task, task.samples)
    afforded = replace(setup, task=task or setup.task)
    plan = divided(afforded, request.policy, films, min(meter.left(), NO_CEILING) - metric, tried)
    stages = tuple(_stages(request, plan, work, metric, _Memory.of(plan.setup, work)))
    there = {metric for one in stages for metric in one.evidence}
    compared = (
        *LINKAGE,
        *(ENCODER if setup.encoder is not None else ()),
        *MEMBERSHIP,
        *(m for found in COMPARED.values() for m in found),
    )
    every = dict.fromkeys((*compared, *(control.metric for control in CONTROLS.values() if control.metric)))
    return Planned(stages=stages, reduced=plan.reduced, missing=tuple(m for m in every if m not in there))


OF_THE_PRIOR = tuple(metric for metric in DISTRIBUTION if "reference" not in metric.value)


def tried_attack(request: AuditRequest, setup: Setup, speed: Speed, meter: Meter) -> Tried:
    """Three steps of the attack, with a metric of few images; no attack where even these take too long."""
    try:
        probe = with_metrics(replace(setup.task, samples=TRIED))
        cost = attack_cost(probe, request.method, Meter(meter.seconds, None, meter.clock), request.seed)
    except OutOfTime:
        cost = None
    return Tried(setup.task, speed, cost)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Bytes that the process holds at a time."""

    base: int
    """Libraries and weights."""
    one: int
    """One image at full size."""
    activations: int
    """What a network keeps of one image for the gradient."""
    statistics: int
    """Stored statistics of one image."""
    embedded: int
    """One film in the space where films are compared."""
    metric: int
    """The inverse covariances in which the statistics of every layer are compared."""
    measured: int
    """The statistics of the images on which those are measured."""
    batch: int

    @classmethod
    def of(cls, setup: Setup, work: Work) -> _Memory:
        task = setup.task
        image = task.space.mean
        weights = 4 * FLOAT * sum(value.numel() for value in task.target.module.parameters())
        samples = task.samples if recipe(task).measured else 0
        widths = [2 * layer.num_features for _, layer in statistics_layers(task.target.module)]
        return cls(
            base=RUNTIME_BYTES + weights + FLOAT * (setup.prior_images.numel() + task.space.factor.numel()),
            one=FLOAT * image.numel(),
            activations=activations(task.target.module, task.inputs(image[None])),
            statistics=FLOAT * task.target.match.data_statistics,
            embedded=SMALL_BYTES * image.shape[0],
            metric=FLOAT * sum(width * min(width, samples) for width in widths),
            measured=FLOAT * samples * sum(widths),
            batch=batch_size(image[None]),
        )

    def measuring(self) -> int:
        return self.base + self.metric + self.measured + self.batch * self.activations

    def attack(self, particles: int) -> int:
        return self.base + self.metric + particles * (self.activations + 8 * self.one)

    def negative(self, particles: int) -> int:
        return self.base + NEGATIVE_SIZE * particles * 3 * self.one + self.batch * self.activations

    def compared(self, films: int) -> int:
        return self.base + 3 * BLOCK_BYTES + films * self.embedded

    def membership(self, films: int) -> int:
        asked = min(films, MOST_ASKED)
        return self.compared(films) + 2 * asked * self.statistics + 24 * asked**2 + self.batch * self.activations


def _stages(request: AuditRequest, plan: Plan, work: Work, metric: float, memory: _Memory) -> Iterator[PlannedStage]:
    """The stages that there is time for, in their order."""
    speed, cost, division, task = plan.speed, plan.cost, plan.division, plan.setup.task
    if speed is None or division is None:
        return
    particles = sum(task.budget.particles)
    control = plan.setup.preprocessing.seconds
    yield _stage("preprocessing", control / control_to_search(plan.setup.frame.side), memory.base + SEARCH_BYTES)
    attacked = cost is not None and division.steps > 0 and can_rebuild(task, request.method)
    if cost is not None and attacked:
        yield _stage("statistics of the prior", metric, memory.measuring())
        yield _stage(
            "attack", work.attacks * cost.seconds(division.steps), memory.attack(particles), (Metric.LIKELY_SAMPLES,)
        )
        yield _stage("negative control", speed.negative(task), memory.negative(particles))
    if not work.films:
        yield _stage("distribution", speed.comparison("distribution", 0), memory.base, OF_THE_PRIOR)
        return
    reading = work.reading or speed.core * PER_FILM * work.films
    yield _stage("reading films", reading, memory.base + DECODED_BYTES)
    if plan.references:
        training = memory.base + memory.batch * memory.activations
        yield _stage(
            "reference models", references_seconds(request.policy.references, task.target, work, speed), training
        )
    if not work.others or work.films == work.others:
        return
    yield from _comparisons(plan, work, speed, memory, attacked=attacked)
    if request.policy.controls.preprocess_fit:
        yield _stage("preprocess_fit", control, memory.base + SEARCH_BYTES, (Metric.PREPROCESS_FIT,))
    if cost is not None and division.controlled:
        seconds = control_seconds(task, work, speed, 2) + cost.seconds(division.steps)
        films = min(work.others, ENOUGH)
        widest = memory.metric + max(memory.measuring(), memory.attack(particles), memory.membership(films))
        evidence = (*((Metric.ATTACK_POWER,) if attacked else ()), Metric.MEMBERSHIP_CONTROL)
        yield _stage("power control", seconds, widest, evidence)
    yield _stage("reports", speed.core * CLOSING, memory.base)


def _comparisons(plan: Plan, work: Work, speed: Speed, memory: _Memory, *, attacked: bool) -> Iterator[PlannedStage]:
    held = memory.compared(work.films)
    if attacked:
        seconds = (work.attacks + 1) * speed.comparison("linkage", work.films)
        yield _stage("linkage", seconds, held, (*LINKAGE, Metric.NEGATIVE_CONTROL_P))
    for name, metrics in COMPARED.items():
        if attacked or name in UNATTACKED:
            yield _stage(name, speed.comparison(name, work.films), held, metrics)
    if attacked and plan.setup.encoder is not None:
        yield _stage("encoder", work.encoding + 2 * speed.comparison("linkage", work.films), held, ENCODER)
    yield _stage(
        "membership", speed.membership(work.films, 2), memory.membership(work.films), (*MEMBERSHIP, *SUBGROUPS)
    )


def _stage(name: str, seconds: float, memory: int, evidence: tuple[Metric, ...] = ()) -> PlannedStage:
    known = seconds if math.isfinite(seconds) else 0.0
    return PlannedStage(stage=name, seconds=known, memory_bytes=memory, evidence=evidence)
