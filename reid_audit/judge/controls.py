"""One control beside what it reached: the only place that decides whether it is met."""

from __future__ import annotations

from typing import Literal

from reid_audit import figures
from reid_audit.judge.case import Case
from reid_audit.judge.remedies import said_unmeasured
from reid_audit.records import (
    CONTROLS,
    Control,
    ControlDecision,
    ControlEntry,
    Controls,
    Measured,
    Overlap,
    Reason,
    Unmeasured,
)

SIGNS = {"at_least": ">=", "at_most": "<=", "above": ">"}


def decide(control: Control, case: Case, controls: Controls, *, screening: bool, settled: bool) -> ControlDecision:
    """What became of ``control``. A ``screening`` needs none; one left out because a breach ``settled`` the verdict
    is no gap."""
    entry, asked = CONTROLS[control], controls.asks(control)
    if entry.metric is None:
        row = _without_number(entry, case.prior_overlap)
    else:
        found = case.find(entry.metric)
        if isinstance(found, Unmeasured):
            text, remedy = said_unmeasured(found)
            row = ControlDecision(control=control, status="unmeasured", reason=found.reason, text=text, remedy=remedy)
        else:
            row = _reached(entry, found, controls.limit(control) or 0.0)
    spared = settled and row.reason is Reason.NOT_NEEDED
    lacking = asked and row.status != "met" and not screening and not spared
    said = {"text": row.text, "remedy": row.remedy} if lacking else {"text": "", "remedy": ""}
    update = {"metric": entry.metric, "limit": controls.limit(control), "lacking": lacking, **said}
    update["comparison"] = entry.comparison if entry.metric is not None else None
    return row.model_copy(update=update if asked else {**update, "status": "not_required"})


def _reached(entry: ControlEntry, found: Measured, limit: float) -> ControlDecision:
    low = found.low if entry.bound == "low" else None
    number = found.value if low is None else low
    bound: Literal["value", "low"] = "value" if low is None else "low"
    met = {"at_least": number >= limit, "at_most": number <= limit, "above": number > limit}[entry.comparison]
    met = met and not found.indicator
    reached, needed = figures.plain(number, (limit,)), f"needed {SIGNS[entry.comparison]} {figures.limit(limit)}"
    return ControlDecision(
        control=entry.control,
        status="met" if met else "missed",
        compared=number,
        bound=bound,
        text="" if met else f"control {found.metric.value}: {reached}, {needed}",
        remedy="" if met else entry.remedy,
    )


def _without_number(entry: ControlEntry, overlap: Overlap) -> ControlDecision:
    """Whether the prior has seen films of the cohorts."""
    if overlap == "disjoint":
        return ControlDecision(control=entry.control, status="met")
    words = "has seen films of these cohorts" if overlap == "overlap" else "does not say what it was trained on"
    status: Literal["missed", "unmeasured"] = "missed" if overlap == "overlap" else "unmeasured"
    return ControlDecision(control=entry.control, status=status, text=f"the prior {words}", remedy=entry.remedy)
