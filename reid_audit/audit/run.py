"""run_audit: load, attack, freeze; only then open films, score, check the controls, judge."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from reid_audit import __version__
from reid_audit.attack.interface import Reconstruction
from reid_audit.attack.outcome import untried
from reid_audit.audit.allowance import late
from reid_audit.audit.attack_runs import RunContext, attack_nothing, attack_target, can_rebuild, numpy_for, summarise
from reid_audit.audit.cohorts import OpenedCohorts, open_cohorts
from reid_audit.audit.environment import Environment
from reid_audit.audit.evidence import COMPARED, Found, Terms, compare, linked_again, nothing_rebuilt, shifts
from reid_audit.audit.inputs import inputs_digest
from reid_audit.audit.plan import Plan, planned
from reid_audit.audit.power_control import Clocked, power_control
from reid_audit.audit.predictors import Wanted, predictors_for
from reid_audit.audit.preprocessing_control import preprocessing_control
from reid_audit.audit.recognition import too_few_in_time
from reid_audit.audit.references import references_of
from reid_audit.audit.request import AuditRequest, Films
from reid_audit.audit.restricted import evidence_of
from reid_audit.audit.setup import Setup, prepare
from reid_audit.audit.state import AuditState
from reid_audit.budget import Meter, Pace, start
from reid_audit.checkpoint import Checkpoint
from reid_audit.imaging.stack import Stack
from reid_audit.observer import Noted, Observer, StageEnded, StageStarted, stage
from reid_audit.records import (
    AttackRun,
    AuditResult,
    Measurement,
    Metric,
    PreprocessSpec,
    Reason,
    Reduced,
    Spend,
    StoppedBy,
    ToolInfo,
    Unmeasured,
    Verdict,
    replaced,
)
from reid_audit.reference.shelf import Shelf
from reid_audit.report.evidence import Evidence
from reid_audit.score.consensus import consensus
from reid_audit.score.demographics import without_demographics
from reid_audit.score.distribution import DISTRIBUTION
from reid_audit.score.likelihood import LIKELY, screening_samples
from reid_audit.score.predictors import Predictors
from reid_audit.score.similarity import MatchSpace, fit_match_space
from reid_audit.workspace import take_workspace

DONE = StoppedBy.COMPLETE


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """The publishable result, and the restricted evidence behind it (None without films)."""

    result: AuditResult
    evidence: Evidence | None


def run_audit(
    request: AuditRequest,
    films: Films,
    environment: Environment,
    *,
    checkpoint: Checkpoint | None = None,
    meter: Meter | None = None,
) -> Audited:
    """Audit one network. Raises AuditError where no verdict can exist.

    ``checkpoint`` holds the network, where the request's file was read before; ``meter`` is then its part of the file's
    budget.
    """
    policy, attack, seed, observer = request.policy, request.attack, request.seed, environment.observer
    torch.use_deterministic_algorithms(request.deterministic, warn_only=True)
    meter = meter or start(policy.budget, environment.clock, began=environment.began)
    pace = Pace(meter, observer)
    take_workspace()
    with stage(observer, "network and prior", brief=True):
        prepared = prepare(request, films, pace, checkpoint)
    with stage(observer, "trying the network", brief=True):
        plan = planned(prepared, policy, films, attack, pace)
    setup = plan.setup
    context = RunContext(attack, observer, environment.store, inputs_digest(request, setup))
    frozen = reconstruct(plan, policy.repeats, context, meter)

    until_control = plan.for_scoring(meter, observer)
    allowed = until_control.keeping(0.0 if plan.untried else setup.preprocessing.seconds)
    frame = replace(setup.frame, observer=observer, meter=allowed.pace.meter)
    cohorts = open_cohorts(films, frame, policy.controls.canaries, seed)
    tell_of_films(setup, cohorts, observer)
    shelf, spare = Shelf(environment.cache.folder), plan.for_references(meter, observer)
    referenced = references_of(setup.task, cohorts, request, spare, shelf)
    terms = Terms(
        seed,
        policy.level,
        allowed,
        readers_of(setup, cohorts, policy.demographics, seed),
        None if referenced is None else referenced.compared(cohorts),
        setup.encoder,
    )
    scored = score(setup, frozen.first, frozen.control, cohorts, terms)
    scored = with_preprocess_fit(scored, setup, films, request, until_control.pace)
    summary = None if referenced is None else referenced.summary
    state = AuditState(policy, request.waivers, seed, setup, cohorts, environment.now, summary)
    observer.notice(Noted(f"so far: {state.verdict([scored.measurements], frozen.runs).outcome.value}"))
    clocked = Clocked(plan, meter, scored.found is None or scored.found.recognised.corrected, referenced)
    with stage(observer, "power control", brief=True):
        extra, more = power_control(
            scored.measurements, scored.space, state, frozen.runs, context, clocked, environment.cache
        )
    every = (scored.measurements + extra, *relinked(frozen.repeats, scored, terms))
    measurements, *repeats = (with_reasons(found, state, attack.method) for found in every)
    judged = judged_on(state, measurements, tuple(repeats), (*frozen.runs, *more))
    result = recorded(request, state, scored, frozen, judged, context, clocked)
    if scored.found is None:
        return Audited(result, None)
    return Audited(result, evidence_of(setup, scored.found, frozen.first, judged.verdict, scored.space))


def with_reasons(found: tuple[Measurement, ...], state: AuditState, method: str) -> tuple[Measurement, ...]:
    """``found`` with why something is missing: few patients in the time, or nothing to rebuild images from."""
    if state.cohorts.reduced():
        found = tuple(map(too_few_in_time, found))
    return found if can_rebuild(state.setup.task, method) else tuple(map(nothing_rebuilt, found))


def with_preprocess_fit(scored: Scored, setup: Setup, films: Films, request: AuditRequest, pace: Pace) -> Scored:
    """``scored`` with the control of the preprocessing, and what the training films say of it."""
    if not request.policy.controls.preprocess_fit:
        left_out = Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.CONTROL_NOT_RUN)
        return replace(scored, measurements=(*scored.measurements, left_out))
    name, expected = Metric.PREPROCESS_FIT.value, setup.preprocessing.seconds
    pace.observer.notice(StageStarted(name, expected=expected))
    rng = numpy_for(request.seed, "preprocessing")
    fitted = preprocessing_control(setup.task.target, setup.preprocessing, films, rng, pace)
    pace.observer.notice(StageEnded(name))
    measurements = (*scored.measurements, fitted.measurement)
    return replace(scored, measurements=measurements, fitting_training_films=fitted.best)


def readers_of(setup: Setup, cohorts: OpenedCohorts, wanted: Wanted, seed: int) -> Callable[[], Predictors | None]:
    """What gives the predictors of age and sex, once they are needed: fitting them takes time."""
    loaded, films, origin = setup.predictors, setup.prior_cohort, setup.prior_origin
    return partial(predictors_for, loaded, films, origin, cohorts, wanted=wanted, seed=seed)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Everything that was measured, and the verdict on it."""

    measurements: tuple[Measurement, ...]
    repeats: tuple[tuple[Measurement, ...], ...]
    """What other attack seeds measured otherwise."""
    runs: tuple[AttackRun, ...]
    verdict: Verdict


def judged_on(
    state: AuditState,
    measurements: tuple[Measurement, ...],
    repeats: tuple[tuple[Measurement, ...], ...],
    runs: tuple[AttackRun, ...],
) -> Judged:
    """The verdict on what every attack seed measured."""
    every = (measurements, *(replaced(measurements, found) for found in repeats))
    return Judged(measurements, repeats, runs, state.verdict(every, runs))


def fewer_references(state: AuditState) -> tuple[Reduced, ...]:
    """The reference models there was no time for."""
    asked, had = state.policy.references, 0 if state.references is None else state.references.count
    if asked.when == "off" or had == asked.count or state.policy.budget.seconds is None:
        return ()
    return (Reduced(stage="references", done=had, of=asked.count, unit="models"),)


def tell_of_films(setup: Setup, cohorts: OpenedCohorts, observer: Observer) -> None:
    """Say what was read and left out of the prior's films and of both cohorts."""
    sources = (("prior", setup.prior_cohort), ("training", cohorts.reference), ("hold-out", cohorts.holdout))
    for name, cohort in sources:
        for note in () if cohort is None else cohort.notes:
            observer.notice(Noted(f"{name} films: {note}"))


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """Every reconstruction, made before a film is opened."""

    first: Reconstruction
    repeats: tuple[Reconstruction, ...]
    """The same attack from other seeds."""
    control: Reconstruction
    runs: tuple[AttackRun, ...]


def reconstruct(plan: Plan, count: int, context: RunContext, meter: Meter) -> Frozen:
    """The attack from ``count`` seeds, and the negative control; nothing where there is no time for an attack."""
    task, attack = plan.setup.task, context.attack
    if plan.untried:
        none = untried(tuple(task.space.mean.shape), meter.spend(StoppedBy.SECONDS))
        return Frozen(none, (none,) * (count - 1), none, (summarise("target", none),))
    made = [
        attack_target(
            task,
            plan.for_attack(meter, count - 1 - k),
            replace(context, attack=replace(attack, seed=attack.seed + k)),
            name=f"target_{k}" if k else "target",
        )
        for k in range(count)
    ]
    control = attack_nothing(task, plan.for_control(meter, context.observer).pace.meter, context)
    runs = (*(summarise("target", m) for m in made), summarise("negative_control", control))
    return Frozen(made[0], tuple(made[1:]), control, runs)


def relinked(repeats: Sequence[Reconstruction], scored: Scored, terms: Terms) -> tuple[tuple[Measurement, ...], ...]:
    """The linkage tests of the reconstructions of every other attack seed; none without films of both cohorts."""
    if scored.found is None:
        return ()
    return tuple(linked_again(scored.found, made, terms) for made in repeats)


def recorded(
    request: AuditRequest,
    state: AuditState,
    scored: Scored,
    frozen: Frozen,
    judged: Judged,
    context: RunContext,
    clocked: Clocked,
) -> AuditResult:
    """Everything a report may be made from."""
    setup, runs = state.setup, judged.runs
    return AuditResult(
        tool=tool_info(setup.device, deterministic=request.deterministic),
        started=state.now,
        method=request.method,
        checkpoint=setup.checkpoint.summary,
        architecture=setup.task.target.match,
        preprocess=setup.task.preprocess,
        preprocess_by=setup.preprocessing.by,
        preprocess_fit=setup.preprocessing.fit,
        preprocess_fitting_training_films=scored.fitting_training_films,
        prior=setup.task.prior.card.model_copy(update={"overlap": state.overlap}),
        predictor=scored.found.demographics.predictor if scored.found else None,
        encoder=scored.found.encoded.card if scored.found else None,
        references=state.references,
        cohorts=tuple(cohort.summary for cohort in state.cohorts.given),
        attack_runs=runs,
        measurements=judged.measurements,
        repeats=judged.repeats,
        histograms=scored.found.histograms if scored.found else (),
        curves=scored.found.curves if scored.found else (),
        subgroups=scored.found.recognised.groups.groups if scored.found else (),
        over_references=scored.found.recognised.over_references if scored.found else None,
        policy=request.policy,
        policy_sha256=request.policy_sha256,
        waivers=request.waivers,
        budget=request.policy.budget,
        spend=Spend(
            seconds=clocked.meter.elapsed(),
            steps=sum(run.spend.steps for run in runs),
            stopped_by=next((a.spend.stopped_by for a in runs if a.spend.stopped_by is not DONE), DONE),
        ),
        reduced=(
            *clocked.plan.reduced,
            *state.cohorts.reduced(),
            *fewer_references(state),
            *(scored.found.recognised.reduced if scored.found else ()),
        ),
        seed=request.seed,
        options=request.options,
        digests=(
            ("reconstructions", frozen.first.digest),
            ("inputs", context.inputs),
            *((("base", setup.base.summary.sha256),) if setup.base else ()),
        ),
        verdict=judged.verdict,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What the first two attack runs and the films gave."""

    space: MatchSpace
    measurements: tuple[Measurement, ...]
    found: Found | None
    fitting_training_films: PreprocessSpec | None = None
    """The preprocessing under which the training films explain the network best."""


def score(setup: Setup, made: Reconstruction, control: Reconstruction, cohorts: OpenedCohorts, terms: Terms) -> Scored:
    """Every measurement but the power control's."""
    with stage(terms.allowed.pace.observer, "match space", brief=True):
        space = fit_match_space(setup.prior_images)
    reference = None if cohorts.reference is None else cohorts.reference.images
    films = sum(len(cohort.images) for cohort in cohorts.given)

    def moved() -> tuple[Measurement, ...]:
        shift = partial(shifts, setup.task, setup.prior_images, made, reference, seed=terms.seed)
        return terms.allowed.in_time("distribution", films, shift, late(*DISTRIBUTION))

    comparison = cohorts.comparison(space)
    if comparison is None:
        reason = Reason.NO_REFERENCE if reference is None else Reason.NO_HOLDOUT
        unread = (*(Unmeasured(metric=m, reason=reason) for m in COMPARED), *without_demographics(reason))
        return Scored(space, (*screened(space, made, control, reference, terms.seed), *unread, *moved()), None)
    found = compare(setup.task, comparison, setup.prior_images, made, control, terms)
    return Scored(space, (*found.measurements, *moved()), found)


def screened(
    space: MatchSpace, made: Reconstruction, control: Reconstruction, reference: Stack | None, seed: int
) -> tuple[Measurement, ...]:
    """What there is to say without films of both cohorts."""
    if not len(made.images):
        return late(*LIKELY, Metric.CONSENSUS)
    likely = screening_samples(space, made, control, reference)
    return (*likely.measurements, restarts_agree(space, made, control, seed))


def restarts_agree(space: MatchSpace, made: Reconstruction, control: Reconstruction, seed: int) -> Measurement:
    """Consensus of the hypotheses, which start independently, beside equally many untuned samples."""
    sizes = [int((made.hypotheses == size).sum()) for size in torch.unique(made.hypotheses)]
    runs = [made.images[made.hypotheses == size] for size in torch.unique(made.hypotheses)]
    null = torch.split(control.images[: sum(sizes)], sizes)
    return consensus(space, runs, null, numpy_for(seed, "consensus"))


def tool_info(device: torch.device, *, deterministic: bool) -> ToolInfo:
    """What ran the audit."""
    return ToolInfo(
        version=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        device=str(device.type),
        deterministic=deterministic,
    )
