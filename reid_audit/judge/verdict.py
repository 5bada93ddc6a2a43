"""measurements + policy + waivers -> Verdict. Pure: no tensors, no clock, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from reid_audit import figures
from reid_audit.judge.remedies import REMEDIES, doubtful_gap, unmeasured_gap
from reid_audit.records import (
    REASON_TEXT,
    Breach,
    Corroboration,
    Demotion,
    Direction,
    Gap,
    Gate,
    Measured,
    Measurement,
    Metric,
    Outcome,
    Policy,
    Reason,
    Unmeasured,
    Verdict,
    Waiver,
    direction_of,
    find,
)
from reid_audit.score.calibration import members_needed

Overlap = Literal["disjoint", "overlap", "unknown"]

LINKAGE: frozenset[Metric] = frozenset(
    {
        Metric.LIKELY_SAMPLES,
        Metric.NEAREST_SSIM,
        Metric.NEAREST_NN,
        Metric.LINKAGE_P,
        Metric.LINKAGE_AUC,
        Metric.NEAREST_MEMBER_SHARE,
        Metric.REIDENTIFIED_PATIENTS,
        Metric.SINGLE_HIT,
        Metric.LINKAGE_TPR,
        Metric.AGE_MAE_RECONSTRUCTION,
        Metric.AGE_MAE_NEAREST,
        Metric.SEX_ACCURACY_RECONSTRUCTION,
        Metric.SEX_ACCURACY_NEAREST,
    }
)
"""Evidence that compares reconstructions with films."""
MEMBERSHIP: frozenset[Metric] = frozenset({Metric.MEMBERSHIP_AUC, Metric.MEMBERSHIP_TPR, Metric.MEMBERSHIP_MAX_P})
"""Evidence that compares films under the weights."""
CORE = (Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR)
"""A PASS needs both sides of the risk measured, whatever gates the policy names: a silent attack proves nothing."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What is judged, with the measurements that may decide already told from those that may not."""

    measurements: tuple[Measurement, ...]
    policy: Policy
    screening: bool
    doubts: dict[Metric, Reason]
    """Why a demoted measurement must not decide."""

    def of(self, metric: Metric) -> Measurement:
        return find(self.measurements, metric)


def judge(
    measurements: Sequence[Measurement],
    policy: Policy,
    *,
    waivers: Sequence[Waiver] = (),
    checkpoint_sha256: str,
    today: date,
    prior_overlap: Overlap,
    budget_complete: bool,
    has_reference: bool,
    has_holdout: bool,
) -> Verdict:
    """The verdict: FAIL where a gate is breached, PASS where everything the policy asks for is there and clear.

    Indicators never breach. Linkage evidence becomes an indicator where training and hold-out films differ in kind,
    where the prior has seen the training films, or where the attack without target information is flagged too;
    membership becomes one where the films differ in kind. A waiver of this checkpoint takes its gate out of the
    breaches and keeps it in ``waived``; an expired one does not, and FAILs.
    """
    screening = policy.evidence == "checkpoint" and not (has_reference and has_holdout)
    demotions = _demotions(tuple(measurements), policy, prior_overlap)
    case = _Case(_demoted(measurements, demotions), policy, screening, {d.metric: d.reason for d in demotions})
    mine = [waiver for waiver in waivers if waiver.checkpoint_sha256 == checkpoint_sha256]
    valid = {waiver.gate: waiver for waiver in mine if waiver.expires >= today}
    lapsed = {waiver.gate for waiver in mine if waiver.expires < today} - set(valid)
    breaches, waived = _breaches(case, valid, lapsed)
    gaps = [] if screening else _evidence_gaps(has_reference, has_holdout, prior_overlap, policy)
    if not budget_complete:
        gaps.append(
            Gap(text="the budget ended before every attack run was done", remedy="raise --budget, or resume the run")
        )
    for gate in policy.gates:
        missed = _gate_gap(case, gate)
        if missed is None or any(gate.metric is b.metric for b in (*breaches, *waived)):
            continue
        if gate.metric in valid and isinstance(case.of(gate.metric), Measured):
            waived.append(Breach(metric=gate.metric, text=_waived_text(missed.text, valid[gate.metric])))
        else:
            gaps.append(missed)
    gaps += _screening_gaps(case) if screening else _core_gaps(case, gaps) + _control_gaps(case, settled=bool(breaches))
    outcome = Outcome.FAIL if breaches else Outcome.INCONCLUSIVE if gaps else Outcome.PASS
    return Verdict(
        outcome=outcome,
        reason=reason_for(outcome, breaches, gaps, waived, screening),
        breaches=tuple(breaches),
        gaps=tuple(gaps),
        waived=tuple(waived),
        warnings=_warnings(waivers, {b.metric for b in (*breaches, *waived)}, checkpoint_sha256),
        demoted=demotions,
        screening=screening,
    )


def _demotions(measurements: tuple[Measurement, ...], policy: Policy, overlap: Overlap) -> tuple[Demotion, ...]:
    """Measurements whose comparison is not sound here, and why."""
    kinds = find(measurements, Metric.EXCHANGEABILITY_P)
    differ = isinstance(kinds, Measured) and kinds.value <= policy.controls.exchangeability_p
    blank = find(measurements, Metric.NEGATIVE_CONTROL_P)
    flagged = isinstance(blank, Measured) and blank.value <= policy.controls.negative_control_p
    linked = Reason.PRIOR_OVERLAP if overlap == "overlap" else Reason.CONTROL_FLAGGED if flagged else None
    reason = Reason.NOT_EXCHANGEABLE if differ else linked
    if reason is None:
        return ()
    weak = LINKAGE | MEMBERSHIP if differ else LINKAGE
    return tuple(
        Demotion(metric=m.metric, reason=reason) for m in measurements if isinstance(m, Measured) and m.metric in weak
    )


def _demoted(measurements: Sequence[Measurement], demotions: tuple[Demotion, ...]) -> tuple[Measurement, ...]:
    """``measurements`` with the demoted ones marked as indicators."""
    weak = {d.metric for d in demotions}
    return tuple(m.model_copy(update={"indicator": True}) if m.metric in weak else m for m in measurements)


def _breaches(case: _Case, valid: dict[Metric, Waiver], lapsed: set[Metric]) -> tuple[list[Breach], list[Breach]]:
    """(breaches, waived breaches) over all gates."""
    breaches: list[Breach] = []
    waived: list[Breach] = []
    for gate in case.policy.gates:
        measurement = case.of(gate.metric)
        if not isinstance(measurement, Measured) or measurement.indicator:
            continue
        if not exceeds_fail(measurement, gate) or not _corroborated(case, gate):
            continue
        text = f"{_shown(measurement, gate, optimistic(measurement))} breaches {figures.limit(gate.fail)}"
        if gate.metric in valid:
            waived.append(Breach(metric=gate.metric, text=_waived_text(text, valid[gate.metric])))
        elif gate.metric in lapsed:
            breaches.append(Breach(metric=gate.metric, text=f"{text}; its waiver has expired"))
        else:
            breaches.append(Breach(metric=gate.metric, text=text))
    return breaches, waived


def optimistic(measurement: Measured) -> float:
    """The confidence bound that favours the model (the value where there is no interval)."""
    lower = direction_of(measurement.metric) is Direction.LOWER
    end = measurement.high if lower else measurement.low
    return measurement.value if end is None else end


def pessimistic(measurement: Measured) -> float:
    """The confidence bound against the model (the value where there is no interval)."""
    lower = direction_of(measurement.metric) is Direction.LOWER
    end = measurement.low if lower else measurement.high
    return measurement.value if end is None else end


def exceeds_fail(measurement: Measured, gate: Gate) -> bool:
    """Whether the optimistic bound lies beyond the gate's ``fail`` (on it, for p-values)."""
    if gate.fail is None or (gate.basis == "excess" and measurement.control is None):
        return False
    number = optimistic(measurement) - _baseline(measurement, gate)
    return number <= gate.fail if direction_of(gate.metric) is Direction.LOWER else number > gate.fail


def is_clear(measurement: Measured, gate: Gate) -> bool:
    """Whether the pessimistic bound supports a PASS (above ``clear`` for p-values, at or below it for the rest)."""
    if gate.clear is None:
        return True
    if gate.basis == "excess" and measurement.control is None:
        return False
    number = pessimistic(measurement) - _baseline(measurement, gate)
    return number > gate.clear if direction_of(gate.metric) is Direction.LOWER else number <= gate.clear


def _baseline(measurement: Measured, gate: Gate) -> float:
    return measurement.control if gate.basis == "excess" and measurement.control is not None else 0.0


def _corroborated(case: _Case, gate: Gate) -> bool:
    return not gate.corroborated_by or any(_agrees(case, c) for c in gate.corroborated_by)


def _agrees(case: _Case, corroboration: Corroboration) -> bool:
    second = case.of(corroboration.metric)
    if not isinstance(second, Measured) or second.indicator:
        return False
    if direction_of(corroboration.metric) is Direction.LOWER:
        return optimistic(second) < corroboration.above
    return optimistic(second) > corroboration.above


def _gate_gap(case: _Case, gate: Gate) -> Gap | None:
    """What this gate lacks for a PASS, or None."""
    measurement = case.of(gate.metric)
    if isinstance(measurement, Unmeasured):
        if gate.clear is None or (case.screening and gate.metric in LINKAGE | MEMBERSHIP):
            return None
        return unmeasured_gap(measurement)
    if gate.metric in case.doubts and gate.clear is not None and gate.metric is not Metric.SINGLE_HIT:
        return doubtful_gap(gate.metric, case.doubts[gate.metric])
    if gate.clear is not None and not is_clear(measurement, gate):
        return Gap(
            metric=gate.metric,
            text=f"{_shown(measurement, gate, pessimistic(measurement))} is not clear of {figures.limit(gate.clear)}",
            remedy=_how_to_clear(measurement, gate),
        )
    if exceeds_fail(measurement, gate):
        return Gap(
            metric=gate.metric,
            text=f"{_shown(measurement, gate, optimistic(measurement))} is beyond {figures.limit(gate.fail)}, "
            "but does not decide alone",
            remedy="repeat with other seeds, more steps and more hold-out patients until the evidence agrees",
        )
    if gate.clear is not None and measurement.indicator and gate.metric is not Metric.SINGLE_HIT and not case.screening:
        return Gap(
            metric=gate.metric,
            text=f"{gate.metric.value} is an indicator here and cannot support a PASS",
            remedy="give hold-out films of the same kind as the training films, and a prior that has seen neither",
        )
    return None


def _shown(measurement: Measured, gate: Gate, end: float) -> str:
    """The number compared, in words."""
    name = gate.metric.value
    over = " over its control" if gate.basis == "excess" else ""
    number = end - _baseline(measurement, gate)
    compared = figures.plain(number, (gate.fail, gate.clear))
    if end == measurement.value:
        return f"{name} {compared}{over}"
    return f"{name} {figures.plain(measurement.value, (gate.fail, gate.clear))} (interval end {compared}{over})"


def _how_to_clear(measurement: Measured, gate: Gate) -> str:
    """What would make an unclear gate clear, as concretely as the numbers allow."""
    clear = gate.clear if gate.clear is not None else 0.0
    if gate.metric in (Metric.LINKAGE_TPR, Metric.MEMBERSHIP_TPR) and measurement.value <= clear:
        needed = members_needed(clear)
        if (have := measurement.n or 0) < needed:
            why = f"{needed} are needed to bound a rate by {figures.limit(clear)}"
            return f"give {needed - have} more training patients ({why})"
        return "give more hold-out patients: the threshold at 1 % false positives is still too uncertain"
    if gate.metric is Metric.LINKAGE_P:
        return "give more hold-out patients and more seeds; if it persists, treat it as a leak"
    return "lower the risk (augmentation, early stop, larger cohort), or answer for it with a waiver"


def _evidence_gaps(reference: bool, holdout: bool, overlap: Overlap, policy: Policy) -> list[Gap]:
    gaps = []
    if not reference:
        gaps.append(Gap(text=REASON_TEXT[Reason.NO_REFERENCE], remedy=REMEDIES[Reason.NO_REFERENCE]))
    if not holdout:
        gaps.append(Gap(text=REASON_TEXT[Reason.NO_HOLDOUT], remedy=REMEDIES[Reason.NO_HOLDOUT]))
    if policy.controls.prior_disjoint and overlap != "disjoint":
        words = "has seen films of these cohorts" if overlap == "overlap" else "does not say what it was trained on"
        gaps.append(
            Gap(text=f"the prior {words}", remedy="use a prior that declares training sets disjoint from both cohorts")
        )
    return gaps


def _core_gaps(case: _Case, known: Sequence[Gap]) -> list[Gap]:
    """Both sides of the risk must be measured soundly, even if the policy has no gate on them."""
    gaps = []
    for metric in CORE:
        measurement = case.of(metric)
        if any(gap.metric is metric for gap in known):
            continue
        if isinstance(measurement, Unmeasured):
            gaps.append(unmeasured_gap(measurement))
        elif metric in case.doubts:
            gaps.append(doubtful_gap(metric, case.doubts[metric]))
        elif measurement.indicator:
            gaps.append(
                Gap(
                    metric=metric,
                    text=f"{metric.value} is an indicator here and cannot support a PASS",
                    remedy="give hold-out films of the same kind as the training films",
                )
            )
    return gaps


def _control_gaps(case: _Case, *, settled: bool) -> list[Gap]:
    """Controls the policy asks for that are missing or not met; not those left out because a breach ``settled`` it."""
    controls = case.policy.controls
    table: tuple[tuple[bool, Metric, float, bool, str], ...] = (
        (controls.attack_power, Metric.ATTACK_POWER, controls.attack_power_p, False,
         "the attack did not find the planted canaries: raise the step budget"),
        (controls.scorer_sensitivity, Metric.SCORER_SENSITIVITY, controls.scorer_sensitivity_low, True,
         "the scorer misses degraded training films: use a prior of the same modality and region"),
        (controls.membership_control, Metric.MEMBERSHIP_CONTROL, controls.membership_control_tpr, True,
         "the membership score misses the canaries: check [preprocess] against the training code"),
        (controls.negative_control, Metric.NEGATIVE_CONTROL_P, controls.negative_control_p, True,
         "the attack without target information is flagged: the prior or the split favours the training films"),
        (controls.exchangeability, Metric.EXCHANGEABILITY_P, controls.exchangeability_p, True,
         "training and hold-out films differ in kind: give hold-out films from the same source"),
    )  # fmt: skip
    gaps = []
    for asked, metric, limit, at_least, remedy in table:
        if not asked:
            continue
        measurement = case.of(metric)
        if isinstance(measurement, Unmeasured):
            if not (settled and measurement.reason is Reason.NOT_NEEDED):
                gaps.append(unmeasured_gap(measurement))
            continue
        strict = metric in (Metric.NEGATIVE_CONTROL_P, Metric.EXCHANGEABILITY_P)
        low = metric is Metric.SCORER_SENSITIVITY and measurement.low is not None
        reached = measurement.low if low and measurement.low is not None else measurement.value
        met = (reached > limit if strict else reached >= limit) if at_least else reached <= limit
        if not met or measurement.indicator:
            sign = (">" if strict else ">=") if at_least else "<="
            gaps.append(
                Gap(
                    metric=metric,
                    text=f"control {metric.value}: {figures.plain(reached, (limit,))}, needed {sign} "
                    f"{figures.limit(limit)}",
                    remedy=remedy,
                )
            )
    return gaps


def _screening_gaps(case: _Case) -> list[Gap]:
    """Without films only the comparison with the attack without target information is left; one must exist."""
    seen = [case.of(m) for m in (Metric.LIKELY_SAMPLES, Metric.CONSENSUS)]
    if any(isinstance(m, Measured) and m.control is not None for m in seen):
        return []
    return [
        Gap(
            metric=Metric.CONSENSUS,
            text="no comparison with the attack without target information was made",
            remedy="run the negative control with two seeds or more",
        )
    ]


def _waived_text(text: str, waiver: Waiver) -> str:
    return f"{text}; waived by {waiver.approved_by} until {waiver.expires.isoformat()}: {waiver.reason}"


def _warnings(waivers: Sequence[Waiver], used: set[Metric], digest: str) -> tuple[str, ...]:
    warnings = []
    for waiver in waivers:
        if waiver.checkpoint_sha256 != digest:
            warnings.append(f"waiver for {waiver.gate.value} belongs to another checkpoint")
        elif waiver.gate not in used:
            warnings.append(f"waiver for {waiver.gate.value} is not needed: the gate is not breached")
    return tuple(warnings)


def reason_for(
    outcome: Outcome, breaches: Sequence[Breach], gaps: Sequence[Gap], waived: Sequence[Breach], screening: bool
) -> str:
    """The verdict in one sentence."""
    if outcome is Outcome.FAIL:
        more = f" (and {len(breaches) - 1} more)" if len(breaches) > 1 else ""
        return f"{breaches[0].text}{more}."
    if outcome is Outcome.INCONCLUSIVE:
        more = f" (and {len(gaps) - 1} more gaps)" if len(gaps) > 1 else ""
        return f"No gate was breached, but a PASS lacks evidence: {gaps[0].text}{more}."
    if screening:
        return "Screening without films: nothing stood out against the attack without target information."
    beside = f" {len(waived)} waived." if waived else ""
    return f"This image-level attack at this budget found nothing, and its controls show it would have.{beside}"
