"""The positive control: the same attack on a copy that memorised canaries, run once per set of inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from reid_audit.attack.likelihood import with_metrics
from reid_audit.audit.attack_runs import RunContext, attack_target, summarise
from reid_audit.audit.cohorts import Canaries, planted_comparison
from reid_audit.audit.evidence import linked_canaries
from reid_audit.audit.plan import Plan
from reid_audit.audit.recognition import lowest, recognised_canaries
from reid_audit.audit.references import Referenced
from reid_audit.audit.state import AuditState
from reid_audit.budget import Meter, OutOfTime
from reid_audit.cohort import Cohort
from reid_audit.imaging.stack import Stack, blocks
from reid_audit.observer import Noted
from reid_audit.records import (
    AttackRun,
    Measured,
    Measurement,
    Metric,
    Outcome,
    Reason,
    Record,
    StoppedBy,
    Unmeasured,
)
from reid_audit.score.comparison import Comparison
from reid_audit.score.similarity import MatchSpace
from reid_audit.store import kept_or_noted, write_private

POWER = (Metric.ATTACK_POWER, Metric.MEMBERSHIP_CONTROL)
PLANTED = 3
"""Raised where canaries are planted in another way, so that what was kept before is measured again."""


class PowerResult(Record):
    """What is kept of the control: numbers only, nothing of the canaries' films or of the reconstructions."""

    measurements: tuple[Measurement, ...]
    run: AttackRun


@dataclass(frozen=True, slots=True, eq=False)
class Clocked:
    """The time that the control has, and how the films' membership was scored: the canaries' is scored likewise."""

    plan: Plan
    meter: Meter
    corrected: bool = True
    """Whether the correction of the training batch size was made."""
    referenced: Referenced | None = None
    """The reference models that the films' answers were scored against, and the canaries' are."""


@dataclass(frozen=True, slots=True)
class ControlCache:
    """Results of the power control by the digest of everything they depend on. None: nothing is kept."""

    folder: Path | None = None

    def load(self, key: str) -> PowerResult | None:
        """The kept result, or None; a damaged file is worth no more than none."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            return TypeAdapter(PowerResult).validate_json(path.read_bytes())
        except (ValidationError, OSError):
            return None

    def save(self, key: str, result: PowerResult) -> None:
        """Keep ``result``; the file appears whole or not at all."""
        path = self._path(key)
        if path is not None:
            write_private(path, result.model_dump_json(indent=1))

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"power-{key[:32]}.json"


def power_control(
    measured: tuple[Measurement, ...],
    space: MatchSpace,
    state: AuditState,
    runs: Sequence[AttackRun],
    context: RunContext,
    clocked: Clocked,
    cache: ControlCache,
) -> tuple[tuple[Measurement, ...], list[AttackRun]]:
    """Attack a copy that memorised the canaries, unless what was ``measured`` so far fails the network without it."""
    cohorts, policy = state.cohorts, state.policy
    if cohorts.holdout is None:
        return absent(Reason.NO_HOLDOUT), []
    if cohorts.canaries is None:
        return absent(Reason.TOO_FEW_HOLDOUT), []
    if cohorts.reference is None or not policy.controls.plants:
        return absent(Reason.CONTROL_NOT_RUN), []
    if state.verdict([measured], runs).outcome is Outcome.FAIL:
        return absent(Reason.NOT_NEEDED), []
    beside = None if clocked.referenced is None else clocked.referenced.digest
    key = digest_of(context.inputs, cohorts.holdout, policy.level, clocked.corrected, beside)
    known = cache.load(key)
    if known is not None:
        context.observer.notice(Noted("attack_power: kept from an earlier audit of the same inputs"))
        return known.measurements, [known.run.model_copy(update={"note": "kept from an earlier audit"})]
    if not clocked.plan.controlled:
        return absent(Reason.BUDGET), []
    compared = planted_comparison(cohorts.holdout, cohorts.canaries, space)
    context = replace(context, inputs=key)
    found, run = planted(compared, cohorts.holdout, cohorts.canaries, policy.level, context, clocked)
    if run is None:
        return found, []
    if run.spend.stopped_by is not StoppedBy.SECONDS and all(isinstance(m, Measured) for m in found):
        with kept_or_noted(context.observer, "attack_power"):
            cache.save(key, PowerResult(measurements=found, run=run))
    return found, [run]


def planted(
    compared: Comparison,
    holdout: Cohort[Stack],
    canaries: Canaries,
    level: float,
    context: RunContext,
    clocked: Clocked,
) -> tuple[tuple[Measurement, ...], AttackRun | None]:
    """The control itself, as far as the time reaches: membership of the canaries first, then the attack.

    ``compared`` holds the canaries' films, as members, beside the other hold-out films.
    """
    plan, seed = clocked.plan, context.attack.seed
    allowed = plan.for_control(clocked.meter, context.observer)
    power: Measurement
    recognised: Measurement
    power, recognised = absent(Reason.BUDGET)
    known = clocked.referenced
    taught = None if known is None else known.taught(canaries.films)
    beside = None if known is None else known.planted(canaries.films, canaries.others)
    try:
        copies = canaries.copies(plan.setup.task, holdout, seed, allowed.pace, taught)
        task = replace(plan.setup.task, target=next(copies))
        metric = 0.0 if plan.speed is None else plan.speed.metric(task, task.samples)
        asked = allowed.before(["linkage"], len(holdout.images)).keeping(metric + plan.attack_seconds())
        with suppress(OutOfTime):
            recognised = lowest(
                recognised_canaries(each, compared, asked, seed=seed, corrected=clocked.corrected, beside=beside)
                for each in chain([task], (replace(task, target=copy) for copy in copies))
            )
        task = with_metrics(task, allowed.pace)
    except OutOfTime:
        return (power, recognised), None
    left = allowed.before(["linkage"], len(holdout.images)).pace.meter
    made = attack_target(task, left, context, name="attack_power")
    power = linked_canaries(compared, made, seed=seed, level=level)
    return (power, recognised), summarise("attack_power", made)


def digest_of(inputs: str, holdout: Cohort[Stack], level: float, corrected: bool, beside: str | None = None) -> str:
    """SHA-256 of all this control depends on: the attack's inputs, what reference models say (``beside``), and
    the hold-out films with all said of them."""
    people = [holdout.patients.tolist(), holdout.strata.tolist(), holdout.labels.tolist()]
    whole = hashlib.sha256(json.dumps([PLANTED, inputs, level, corrected, beside, people]).encode())
    for part in blocks(holdout.images):
        whole.update(part.contiguous().numpy().tobytes())
    return whole.hexdigest()


def absent(reason: Reason) -> tuple[Unmeasured, ...]:
    """The power control's measurements where it did not run."""
    return tuple(Unmeasured(metric=metric, reason=reason) for metric in POWER)
