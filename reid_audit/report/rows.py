"""The judge's rows as they are published: beside each, what was measured. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable

from reid_audit.records import (
    CONTROLS,
    AuditResult,
    ControlDecision,
    Gate,
    GateDecision,
    Measured,
    Measurement,
    Reason,
    Unmeasured,
    Waiver,
    direction_of,
    find,
)
from reid_audit.report.wire import ControlRow, GateRow, PublicCorroboration, PublicWaiver

Said = Callable[[str], str]
"""Makes a sentence publishable."""


def gate_rows(result: AuditResult, measurements: tuple[Measurement, ...], said: Said) -> tuple[GateRow, ...]:
    """One row for each gate of the policy, but for what a given encoder would have decided where none was given.

    ``measurements`` are those that may be published: a number that is hidden there is hidden here too.
    """
    decided = {row.metric: row for row in result.verdict.gates}
    rows = []
    for gate in result.policy.gates:
        decision = decided.get(gate.metric, GateDecision(metric=gate.metric, status="unmeasured"))
        measurement = find(measurements, gate.metric)
        if decision.lacking or isinstance(measurement, Measured) or measurement.reason is not Reason.NO_ENCODER:
            rows.append(_gate(gate, decision, measurement, said))
    return tuple(rows)


def _gate(gate: Gate, decision: GateDecision, measurement: Measurement, said: Said) -> GateRow:
    measured = measurement if isinstance(measurement, Measured) else None
    hidden = measured is None and decision.status == "indicator"
    return GateRow(
        metric=gate.metric,
        status="unmeasured" if hidden else decision.status,
        direction=direction_of(gate.metric),
        value=measured.value if measured else None,
        low=measured.low if measured else None,
        high=measured.high if measured else None,
        control=measured.control if measured else None,
        n=measured.n if measured else None,
        basis=gate.basis,
        fail=gate.fail,
        clear=gate.clear,
        compared=decision.compared if measured else None,
        bound=decision.bound if measured else None,
        limit=decision.limit,
        margin=decision.margin if measured else None,
        beyond=decision.beyond and measured is not None,
        uncorroborated=decision.uncorroborated and measured is not None,
        corroborated_by=tuple(PublicCorroboration(metric=c.metric, above=c.above) for c in gate.corroborated_by),
        waiver=_waiver(decision.waiver, said),
        doubt=decision.doubt if measured else None,
        lacking=decision.lacking,
        remedy=said(decision.remedy),
    )


def _waiver(waiver: Waiver | None, said: Said) -> PublicWaiver | None:
    if waiver is None:
        return None
    return PublicWaiver(reason=said(waiver.reason), approved_by=said(waiver.approved_by)[:120], expires=waiver.expires)


def control_rows(result: AuditResult, measurements: tuple[Measurement, ...], said: Said) -> tuple[ControlRow, ...]:
    """One row for each control, required or not."""
    return tuple(_control(row, measurements, said) for row in result.verdict.controls)


def _control(row: ControlDecision, measurements: tuple[Measurement, ...], said: Said) -> ControlRow:
    metric = CONTROLS[row.control].metric
    found = None if metric is None else find(measurements, metric)
    measured = found if isinstance(found, Measured) else None
    return ControlRow(
        name=row.control,
        status=row.status,
        metric=metric,
        required=row.limit,
        direction=row.comparison,
        value=measured.value if measured else None,
        low=measured.low if measured else None,
        high=measured.high if measured else None,
        n=measured.n if measured else None,
        reason=found.reason if isinstance(found, Unmeasured) else None,
        lacking=row.lacking,
        remedy=said(row.remedy),
    )
