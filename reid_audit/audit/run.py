"""run_audit: load, attack, freeze; only then open films, score, check the controls, judge."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import torch

from reid_audit import __version__
from reid_audit.attack.interface import Reconstruction
from reid_audit.audit.arms import Desk, attack_nothing, attack_target, numpy_for, paced, summarise
from reid_audit.audit.evidence import Found, compare, power, shifts
from reid_audit.audit.request import AuditRequest, Films
from reid_audit.audit.restricted import evidence_of
from reid_audit.audit.setup import Setup, prepare
from reid_audit.audit.sides import Sides, open_films
from reid_audit.budget import Clock, Meter, start
from reid_audit.judge import Overlap, judge
from reid_audit.observer import Noted, Observer, SilentObserver, StageEnded, StageStarted
from reid_audit.prior.provenance import check_overlap
from reid_audit.records import (
    ArmSummary,
    AuditResult,
    Measurement,
    Metric,
    Outcome,
    Reason,
    Spend,
    StoppedBy,
    ToolInfo,
    Unmeasured,
    Verdict,
)
from reid_audit.report.evidence import Evidence
from reid_audit.score.consensus import consensus
from reid_audit.score.demographics import fit_predictors, without_demographics
from reid_audit.score.likelihood import screening_samples
from reid_audit.score.similarity import MatchSpace, fit_match_space
from reid_audit.store import RunStore

POWER = (Metric.ATTACK_POWER, Metric.EXPOSURE_CONTROL)
COMPLETE = (StoppedBy.COMPLETE, StoppedBy.CONVERGED)
FRACTION, MARGIN = 0.45, 0.85
"""Share of the time left that the target's arm may take; the power arm needs as much again."""


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """The publishable result, and the restricted evidence behind it (None without films)."""

    result: AuditResult
    evidence: Evidence | None


def run_audit(
    request: AuditRequest,
    films: Films,
    *,
    now: datetime,
    clock: Clock,
    observer: Observer | None = None,
    store: RunStore | None = None,
) -> Audited:
    """Audit one checkpoint. Raises AuditError where no verdict can exist."""
    observer = observer or SilentObserver()
    torch.use_deterministic_algorithms(request.deterministic, warn_only=True)
    meter = start(request.policy.budget, clock)
    observer.notice(StageStarted("checkpoint and prior"))
    setup = prepare(request, films)
    found = f"{setup.task.target.match.name}, {setup.frame.side} px, {setup.device}"
    observer.notice(StageEnded("checkpoint and prior", found))
    task = paced(setup.task, request.method, meter, request.seed, share=FRACTION * MARGIN)
    if task.budget.steps < setup.task.budget.steps:
        observer.notice(Noted(f"steps: {task.budget.steps} of {setup.task.budget.steps}, to fit the time budget"))
    setup = replace(setup, task=task)
    desk = Desk(request.seed, observer, store or RunStore(), inputs_digest(request, setup))
    made = attack_target(setup.task, request.method, meter.share(FRACTION), desk)
    control = attack_nothing(setup.task, meter.share(FRACTION), desk)

    observer.notice(StageStarted("films"))
    sides = open_films(films, setup.frame, request)
    counts = [f"{c.summary.patients} {c.summary.role} patients" for c in sides.cohorts]
    observer.notice(StageEnded("films", ", ".join(counts) or "none given"))
    observer.notice(StageStarted("scoring"))
    scored = score(setup, made, control, sides, request)
    arms = [summarise("target", made), summarise("negative_control", control)]
    court = Court(request, setup, sides, now)
    observer.notice(StageEnded("scoring", court.verdict(scored.measurements, arms).outcome.value))
    extra, more = power_arm(scored, sides, court, arms, desk, meter)
    arms += more
    measurements = scored.measurements + extra
    verdict = court.verdict(measurements, arms)
    result = AuditResult(
        tool=tool_info(setup, request),
        started=now,
        method=request.method,
        checkpoint=setup.checkpoint.summary,
        architecture=setup.task.target.match,
        preprocess=setup.task.preprocess,
        preprocess_by=setup.preprocess_by,
        prior=setup.task.prior.card.model_copy(update={"overlap": court.overlap}),
        cohorts=tuple(cohort.summary for cohort in sides.cohorts),
        arms=tuple(arms),
        measurements=measurements,
        histograms=scored.found.histograms if scored.found else (),
        curves=scored.found.curves if scored.found else (),
        policy=request.policy,
        policy_sha256=request.policy_sha256,
        waivers=request.waivers,
        budget=request.policy.budget,
        spend=Spend(
            seconds=meter.elapsed(),
            steps=sum(arm.spend.steps for arm in arms),
            stopped_by=next((a.spend.stopped_by for a in arms if a.spend.stopped_by not in COMPLETE), COMPLETE[0]),
        ),
        seed=request.seed,
        digests=(("reconstructions", made.digest), ("inputs", desk.inputs)),
        verdict=verdict,
    )
    return Audited(result, evidence_of(setup, scored.found, made, sides, verdict) if scored.found else None)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What the first two arms and the films gave."""

    space: MatchSpace
    measurements: tuple[Measurement, ...]
    found: Found | None


@dataclass(frozen=True, slots=True, eq=False)
class Court:
    """Everything a verdict depends on beside the measurements."""

    request: AuditRequest
    setup: Setup
    sides: Sides
    now: datetime

    @property
    def overlap(self) -> Overlap:
        """The worst of what the prior shares with each cohort; "unknown" without cohorts."""
        origin = self.setup.prior_origin
        found = {check_overlap(origin, c.images, c.patients.tolist()).overlap for c in self.sides.cohorts}
        if "overlap" in found:
            return "overlap"
        return "disjoint" if found == {"disjoint"} else "unknown"

    def verdict(self, measurements: tuple[Measurement, ...], arms: Sequence[ArmSummary]) -> Verdict:
        """Judge under the request's policy and waivers."""
        return judge(
            measurements,
            self.request.policy,
            waivers=self.request.waivers,
            checkpoint_sha256=self.setup.checkpoint.summary.sha256,
            today=self.now.date(),
            prior_overlap=self.overlap,
            budget_complete=all(arm.spend.stopped_by in COMPLETE for arm in arms),
            has_reference=self.sides.reference is not None,
            has_holdout=self.sides.holdout is not None,
        )


def score(setup: Setup, made: Reconstruction, control: Reconstruction, sides: Sides, request: AuditRequest) -> Scored:
    """Every measurement but the power arm's."""
    space = fit_match_space(setup.prior_films)
    reference = None if sides.reference is None else sides.reference.images
    moved = shifts(setup.task, setup.prior_films, made, reference, seed=request.seed)
    pooled = sides.pooled()
    if pooled is None:
        likely = screening_samples(made.images, made.energies, control.energies)
        agree = restarts_agree(space, made, control, request.seed)
        unread = without_demographics(Reason.NO_REFERENCE if reference is None else Reason.NO_HOLDOUT)
        return Scored(space, (*likely.measurements, agree, *unread, *moved), None)
    told = setup.prior_cohort
    found = compare(
        setup.task,
        space,
        setup.prior_films,
        pooled,
        made,
        control,
        seed=request.seed,
        level=request.policy.level,
        predictors=None if told is None else fit_predictors(space, told.images, told.ages, told.sexes, told.patients),
    )
    return Scored(space, (*found.measurements, *moved), found)


def restarts_agree(space: MatchSpace, made: Reconstruction, control: Reconstruction, seed: int) -> Measurement:
    """Consensus of the hypotheses, which start independently, beside equally many untuned samples."""
    sizes = [int((made.hypotheses == size).sum()) for size in torch.unique(made.hypotheses)]
    runs = [made.images[made.hypotheses == size] for size in torch.unique(made.hypotheses)]
    null = torch.split(control.images[: sum(sizes)], sizes)
    return consensus(space, runs, null, numpy_for(seed, "consensus"))


def power_arm(
    scored: Scored, sides: Sides, court: Court, arms: Sequence[ArmSummary], desk: Desk, meter: Meter
) -> tuple[tuple[Measurement, ...], list[ArmSummary]]:
    """Attack a copy that memorised the canaries, unless the verdict stands without it."""
    request, setup = court.request, court.setup
    wanted = request.policy.controls.attack_power or request.policy.controls.exposure_control
    if sides.holdout is None:
        return absent(Reason.NO_HOLDOUT), []
    if sides.canaries is None:
        return absent(Reason.TOO_FEW_HOLDOUT), []
    if scored.found is None or not wanted:
        return absent(Reason.CONTROL_NOT_RUN), []
    if court.verdict(scored.measurements, arms).outcome is Outcome.FAIL:
        return absent(Reason.NOT_NEEDED), []
    desk.observer.notice(StageStarted("planting canaries"))
    copy = sides.canaries.plant(setup.task, sides.holdout, request.seed)
    desk.observer.notice(StageEnded("planting canaries", f"{len(sides.canaries.films)} patients"))
    task = replace(setup.task, target=copy)
    made = attack_target(task, request.method, meter.share(0.95), desk, name="attack_power")
    desk.observer.notice(StageStarted("scoring canaries"))
    found = power(
        task, scored.space, sides.holdout, sides.canaries, made, seed=request.seed, level=request.policy.level
    )
    desk.observer.notice(StageEnded("scoring canaries"))
    return found, [summarise("attack_power", made)]


def inputs_digest(request: AuditRequest, setup: Setup) -> str:
    """SHA-256 of everything the arms depend on."""
    parts = {
        "checkpoint": setup.checkpoint.summary.sha256,
        "prior": setup.task.prior.card.sha256,
        "space": setup.task.space.card.sha256,
        "preprocess": setup.task.preprocess.model_dump(mode="json"),
        "budget": setup.task.budget.model_dump(mode="json"),
        "canaries": request.policy.controls.canaries,
        "architecture": setup.task.target.match.name,
        "method": request.method,
        "base": None if setup.task.base is None else digest_of(setup.task.base.module),
        "seed": request.seed,
        "version": __version__,
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest_of(module: torch.nn.Module) -> str:
    """SHA-256 of a network's parameters."""
    whole = hashlib.sha256()
    for name, value in module.named_parameters():
        whole.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def absent(reason: Reason) -> tuple[Unmeasured, ...]:
    """The power arm's measurements when it did not run."""
    return tuple(Unmeasured(metric=metric, reason=reason) for metric in POWER)


def tool_info(setup: Setup, request: AuditRequest) -> ToolInfo:
    """What ran the audit."""
    return ToolInfo(
        version=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        device=str(setup.device.type),
        deterministic=request.deterministic,
    )
