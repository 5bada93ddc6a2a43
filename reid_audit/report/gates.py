"""Rows of the gate and control tables: policy beside measurements and verdict."""

from __future__ import annotations

from typing import Literal, NamedTuple

from reid_audit.records import (
    Controls,
    Direction,
    Gate,
    Measured,
    Measurement,
    Metric,
    Policy,
    PriorCard,
    Unmeasured,
    Verdict,
    Waiver,
    direction_of,
    find,
)
from reid_audit.report.wire import ControlName, ControlRow, ControlStatus, GateRow, GateStatus, PublicCorroboration
from reid_audit.report.wire import PublicWaiver as WireWaiver


class _Ends(NamedTuple):
    kind: float | None
    """The confidence bound that favours the model."""
    harsh: float | None


def gate_row(gate: Gate, measurements: tuple[Measurement, ...], verdict: Verdict, waiver: WireWaiver | None) -> GateRow:
    """One gate beside its measurement; the verdict alone decides what counts as a breach."""
    measurement = find(measurements, gate.metric)
    direction = direction_of(gate.metric)
    ends = _ends(measurement, gate.basis, direction) if isinstance(measurement, Measured) else _Ends(None, None)
    threshold = gate.fail if gate.fail is not None else gate.clear
    facing = ends.kind if gate.fail is not None else ends.harsh
    sign = 1.0 if direction is Direction.HIGHER else -1.0
    measured = measurement if isinstance(measurement, Measured) else None
    return GateRow(
        metric=gate.metric,
        status=_status(gate, measurement, verdict, ends),
        direction=direction,
        value=measured.value if measured else None,
        low=measured.low if measured else None,
        high=measured.high if measured else None,
        control=measured.control if measured else None,
        n=measured.n if measured else None,
        basis=gate.basis,
        fail=gate.fail,
        clear=gate.clear,
        compared=facing,
        margin=None if facing is None or threshold is None else round(sign * (threshold - facing), 12) + 0.0,
        corroborated_by=tuple(PublicCorroboration(metric=c.metric, above=c.above) for c in gate.corroborated_by),
        waiver=waiver,
        doubt=next((d.reason for d in verdict.demoted if measured and d.metric is gate.metric), None),
    )


def waiver_of(gate: Gate, waivers: tuple[Waiver, ...], checkpoint_sha256: str) -> Waiver | None:
    """The waiver that names this gate and this checkpoint."""
    for waiver in waivers:
        if waiver.gate is gate.metric and waiver.checkpoint_sha256 == checkpoint_sha256:
            return waiver
    return None


def control_rows(policy: Policy, measurements: tuple[Measurement, ...], prior: PriorCard) -> tuple[ControlRow, ...]:
    """The six controls with what they reached, required or not."""
    c: Controls = policy.controls
    measured = (
        _control("attack_power", Metric.ATTACK_POWER, c.attack_power, "at_most", c.attack_power_p, measurements),
        _control(
            "scorer_sensitivity",
            Metric.SCORER_SENSITIVITY,
            c.scorer_sensitivity,
            "at_least",
            c.scorer_sensitivity_low,
            measurements,
        ),
        _control(
            "membership_control",
            Metric.MEMBERSHIP_CONTROL,
            c.membership_control,
            "at_least",
            c.membership_control_tpr,
            measurements,
        ),
        _control(
            "negative_control",
            Metric.NEGATIVE_CONTROL_P,
            c.negative_control,
            "above",
            c.negative_control_p,
            measurements,
        ),
        _control(
            "exchangeability",
            Metric.EXCHANGEABILITY_P,
            c.exchangeability,
            "above",
            c.exchangeability_p,
            measurements,
        ),
    )
    status: ControlStatus = "met" if prior.overlap == "disjoint" else "missed"
    if prior.overlap == "unknown":
        status = "unmeasured"
    return (*measured, ControlRow(name="prior_disjoint", status=status if c.prior_disjoint else "not_required"))


def _ends(measured: Measured, basis: Literal["value", "excess"], direction: Direction) -> _Ends:
    low = measured.value if measured.low is None else measured.low
    high = measured.value if measured.high is None else measured.high
    if basis == "excess":
        if measured.control is None:
            return _Ends(None, None)
        low, high = low - measured.control, high - measured.control
    return _Ends(low, high) if direction is Direction.HIGHER else _Ends(high, low)


def _status(gate: Gate, measurement: Measurement, verdict: Verdict, ends: _Ends) -> GateStatus:
    if any(breach.metric is gate.metric for breach in verdict.breaches):
        return "breach"
    if any(breach.metric is gate.metric for breach in verdict.waived):
        return "waived"
    if isinstance(measurement, Unmeasured):
        return "unmeasured"
    if measurement.indicator:
        return "indicator"
    if any(gap.metric is gate.metric for gap in verdict.gaps):
        return "open"
    if ends.kind is None or ends.harsh is None:
        return "open"
    higher = direction_of(gate.metric) is Direction.HIGHER
    if gate.clear is not None:
        return "clear" if (ends.harsh <= gate.clear if higher else ends.harsh > gate.clear) else "open"
    limit = gate.fail
    within = limit is None or (ends.kind <= limit if higher else ends.kind > limit)
    return "clear" if within else "open"


def _control(
    name: ControlName,
    metric: Metric,
    required: bool,
    direction: Literal["at_least", "at_most", "above"],
    threshold: float,
    measurements: tuple[Measurement, ...],
) -> ControlRow:
    measurement = find(measurements, metric)
    if isinstance(measurement, Unmeasured):
        status: ControlStatus = "unmeasured" if required else "not_required"
        return ControlRow(
            name=name, status=status, metric=metric, required=threshold, direction=direction, reason=measurement.reason
        )
    # The scorer has to reach its share with the lower bound, the others with the value itself.
    reached = measurement.value
    if name == "scorer_sensitivity" and measurement.low is not None:
        reached = measurement.low
    met = {"at_least": reached >= threshold, "at_most": reached <= threshold, "above": reached > threshold}[direction]
    return ControlRow(
        name=name,
        status=("met" if met else "missed") if required else "not_required",
        metric=metric,
        required=threshold,
        direction=direction,
        value=measurement.value,
        low=measurement.low,
        high=measurement.high,
        n=measurement.n,
    )
