"""The positive control: the same attack on a copy that memorised canaries, run once per set of inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from reid_audit.attack.likelihood import with_metrics
from reid_audit.audit.attack_runs import RunContext, attack_target, summarise
from reid_audit.audit.evidence import power
from reid_audit.audit.state import AuditState
from reid_audit.budget import Meter
from reid_audit.cohort import Cohort
from reid_audit.observer import Noted
from reid_audit.records import AttackRun, Measurement, Metric, Outcome, Reason, Record, Unmeasured
from reid_audit.score.similarity import MatchSpace
from reid_audit.store import write_private

POWER = (Metric.ATTACK_POWER, Metric.MEMBERSHIP_CONTROL)


class PowerResult(Record):
    """Scalars only: nothing of the canaries' films or of the reconstructions is kept."""

    measurements: tuple[Measurement, ...]
    run: AttackRun


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
    meter: Meter,
    cache: ControlCache,
) -> tuple[tuple[Measurement, ...], list[AttackRun]]:
    """Attack a copy that memorised the canaries, unless the verdict stands without it. ``measured``: so far."""
    request, setup, cohorts = state.request, state.setup, state.cohorts
    wanted = request.policy.controls.plants
    if cohorts.holdout is None:
        return absent(Reason.NO_HOLDOUT), []
    if cohorts.canaries is None:
        return absent(Reason.TOO_FEW_HOLDOUT), []
    if cohorts.reference is None or not wanted:
        return absent(Reason.CONTROL_NOT_RUN), []
    if state.verdict([measured], runs).outcome is Outcome.FAIL:
        return absent(Reason.NOT_NEEDED), []
    key = digest_of(context.inputs, cohorts.holdout, request.policy.level)
    known = cache.load(key)
    if known is not None:
        context.observer.notice(Noted("attack_power: kept from an earlier audit of the same inputs"))
        return known.measurements, [known.run.model_copy(update={"note": "kept from an earlier audit"})]
    copy = cohorts.canaries.plant(setup.task, cohorts.holdout, request.seed)
    task = with_metrics(replace(setup.task, target=copy))
    made = attack_target(task, request.method, meter.share(0.95), replace(context, inputs=key), name="attack_power")
    found = power(task, space, cohorts.holdout, cohorts.canaries, made, seed=request.seed, level=request.policy.level)
    result = PowerResult(measurements=found, run=summarise("attack_power", made))
    cache.save(key, result)
    return result.measurements, [result.run]


def digest_of(inputs: str, holdout: Cohort, level: float) -> str:
    """SHA-256 of all this control depends on: the attack's inputs, and the hold-out films with all said of them."""
    people = [holdout.patients.tolist(), holdout.strata.tolist(), holdout.labels.tolist()]
    whole = hashlib.sha256(json.dumps([inputs, level, people]).encode())
    whole.update(holdout.images.contiguous().numpy().tobytes())
    return whole.hexdigest()


def absent(reason: Reason) -> tuple[Unmeasured, ...]:
    """The power control's measurements where it did not run."""
    return tuple(Unmeasured(metric=metric, reason=reason) for metric in POWER)
