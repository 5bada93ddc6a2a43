"""One gate beside its measurement: the only place that decides what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from reid_audit import figures
from reid_audit.judge.bounds import comparable, exceeds_fail, is_clear, margin, optimistic, pessimistic
from reid_audit.judge.case import Case, compares_films
from reid_audit.judge.remedies import REMEDIES, said_unmeasured
from reid_audit.records import (
    METRICS,
    RATES,
    REASON_TEXT,
    Corroboration,
    Direction,
    Gate,
    GateDecision,
    Measured,
    Metric,
    Reason,
    Unmeasured,
    Waiver,
    direction_of,
)
from reid_audit.score.calibration import members_needed

Limit = Literal["fail", "clear"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the decision on a gate depends on beside its measurement."""

    case: Case
    doubts: Mapping[Metric, Reason]
    """Why a measurement must not decide."""
    screening: bool
    valid: Mapping[Metric, Waiver]
    """Waivers of this checkpoint that hold today."""
    lapsed: Mapping[Metric, Waiver]

    def decides(self, measurement: Measured) -> bool:
        """Whether the number may fail a model or support a PASS."""
        return not measurement.indicator and measurement.metric not in self.doubts


def decide(gate: Gate, rules: Rules) -> GateDecision:
    """What became of ``gate``: breach, waived, open, clear, or why it decides nothing."""
    measurement = rules.case.find(gate.metric)
    if isinstance(measurement, Unmeasured):
        return _unmeasured(gate, measurement, rules)
    if gate.fail is None and gate.clear is None and not METRICS[gate.metric].always_needed:
        return GateDecision(metric=gate.metric, status="off", doubt=rules.doubts.get(gate.metric))
    if rules.decides(measurement) and exceeds_fail(measurement, gate) and _corroborated(gate, rules):
        return _breach(gate, measurement, rules)
    found = _undecided(gate, measurement, rules) or _clear(gate, measurement, rules)
    waiver = rules.valid.get(gate.metric)
    if found.lacking and waiver is not None and _waivable(found):
        update = {"status": "waived", "lacking": False, "waiver": waiver, "text": waived_text(found.text, waiver)}
        return found.model_copy(update={**update, "remedy": "", "uncorroborated": False})
    return found


def _waivable(row: GateDecision) -> bool:
    """A person may answer for a number, not for evidence that is missing or that every PASS needs."""
    return row.status == "open" or (row.status == "indicator" and not METRICS[row.metric].always_needed)


def _unmeasured(gate: Gate, measurement: Unmeasured, rules: Rules) -> GateDecision:
    """A gate that could only have failed the model is missed where the time was over before it could."""
    late = measurement.reason is Reason.BUDGET
    needed = gate.clear is not None or METRICS[gate.metric].always_needed or late
    lacking = needed and not (rules.screening and compares_films(gate.metric))
    text, remedy = said_unmeasured(measurement)
    return GateDecision(
        metric=gate.metric,
        status="unmeasured",
        lacking=lacking,
        text=text if lacking else "",
        remedy=remedy if lacking else "",
    )


def _breach(gate: Gate, measurement: Measured, rules: Rules) -> GateDecision:
    row = _compared(gate, measurement, "fail")
    text = f"{shown(measurement, gate, row)} breaches {figures.limit(gate.fail)}"
    waiver = rules.valid.get(gate.metric)
    if waiver is not None:
        return row.model_copy(update={"status": "waived", "waiver": waiver, "text": waived_text(text, waiver)})
    lapsed = rules.lapsed.get(gate.metric)
    text += "; its waiver has expired" if lapsed is not None else ""
    return row.model_copy(update={"status": "breach", "waiver": lapsed, "text": text})


def _undecided(gate: Gate, measurement: Measured, rules: Rules) -> GateDecision | None:
    """The row of a gate that lacks something for a PASS; None where nothing is lacking."""
    metric, entry, doubt = gate.metric, METRICS[gate.metric], rules.doubts.get(gate.metric)
    needed = gate.clear is not None or entry.always_needed
    if not comparable(measurement, gate):
        return _lacking(
            GateDecision(metric=metric, status="unmeasured", doubt=doubt),
            f"{metric.value} has no control in this run, so its excess cannot be judged",
            'give what the control is made of (docs/metrics.md), or judge the value itself: basis = "value"',
        )
    beyond = exceeds_fail(measurement, gate)
    if doubt is not None and (beyond or (needed and not entry.none_is_clear)):
        row = _compared(gate, measurement, "clear" if gate.clear is not None else "fail")
        text = f"{metric.value} is an indicator here: {REASON_TEXT[doubt]}"
        return _lacking(row.model_copy(update={"status": "indicator", "doubt": doubt}), text, REMEDIES[doubt])
    if gate.clear is not None and not is_clear(measurement, gate):
        row = _compared(gate, measurement, "clear").model_copy(update=_open(gate, measurement, rules))
        text = f"{shown(measurement, gate, row)} is not clear of {figures.limit(gate.clear)}"
        return _lacking(row, text, how_to_clear(measurement, gate))
    if beyond:
        row = _compared(gate, measurement, "fail").model_copy(update=_open(gate, measurement, rules))
        return _lacking(
            row,
            f"{shown(measurement, gate, row)} is beyond {figures.limit(gate.fail)}, but does not decide alone",
            "repeat with other seeds, more steps and more hold-out patients: it counts once all of them agree",
        )
    if needed and measurement.indicator and not entry.none_is_clear and not rules.screening:
        row = _compared(gate, measurement, "clear" if gate.clear is not None else "fail")
        return _lacking(
            row.model_copy(update={"status": "indicator", "doubt": doubt}),
            f"{metric.value} is an indicator here and cannot support a PASS",
            "give hold-out films of the same kind as the training films, and a prior that has seen neither",
        )
    return None


def _open(gate: Gate, measurement: Measured, rules: Rules) -> dict[str, object]:
    """What becomes of a row that is not within its limits and no breach either."""
    decides = rules.decides(measurement)
    return {
        "status": "open" if decides else "indicator",
        "uncorroborated": decides and exceeds_fail(measurement, gate),
        "doubt": rules.doubts.get(gate.metric),
    }


def _clear(gate: Gate, measurement: Measured, rules: Rules) -> GateDecision:
    """The row of a gate that lacks nothing: within its limits, or shown without deciding."""
    row = _compared(gate, measurement, "clear" if gate.clear is not None else "fail")
    status = "off" if row.limit is None else "clear" if rules.decides(measurement) else "indicator"
    return row.model_copy(update={"status": status, "doubt": rules.doubts.get(gate.metric)})


def _lacking(row: GateDecision, text: str, remedy: str) -> GateDecision:
    return row.model_copy(update={"lacking": True, "text": text, "remedy": remedy})


def _compared(gate: Gate, measurement: Measured, limit: Limit) -> GateDecision:
    """A row that says which number was held against which threshold; its status is still to be set."""
    threshold = gate.fail if limit == "fail" else gate.clear
    bound = (optimistic if limit == "fail" else pessimistic)(measurement, gate)
    return GateDecision(
        metric=gate.metric,
        status="clear",
        compared=bound.number,
        bound=bound.name,
        limit=None if threshold is None else limit,
        margin=None if threshold is None else margin(bound.number, threshold, gate),
        beyond=exceeds_fail(measurement, gate) if limit == "fail" else not is_clear(measurement, gate),
    )


def _corroborated(gate: Gate, rules: Rules) -> bool:
    return not gate.corroborated_by or any(_agrees(second, rules) for second in gate.corroborated_by)


def _agrees(corroboration: Corroboration, rules: Rules) -> bool:
    second = rules.case.find(corroboration.metric)
    if not isinstance(second, Measured) or not rules.decides(second):
        return False
    number = optimistic(second, Gate(metric=corroboration.metric)).number
    if direction_of(corroboration.metric) is Direction.LOWER:
        return number < corroboration.above
    return number > corroboration.above


def shown(measurement: Measured, gate: Gate, row: GateDecision) -> str:
    """The number that is compared with the gate, as the reports print it."""
    name, over = gate.metric.value, " over its control" if gate.basis == "excess" else ""
    limits = (gate.fail, gate.clear)
    compared = figures.plain(row.compared or 0.0, limits)
    if row.bound == "value" or row.bound is None or getattr(measurement, row.bound) == measurement.value:
        return f"{name} {compared}{over}"
    return f"{name} {figures.plain(measurement.value, limits)} (interval end {compared}{over})"


def how_to_clear(measurement: Measured, gate: Gate) -> str:
    """What would make an unclear gate clear, as concretely as the numbers allow."""
    clear = gate.clear if gate.clear is not None else 0.0
    if gate.metric in RATES and measurement.value <= clear:
        needed = members_needed(clear)
        if (have := measurement.n or 0) < needed:
            bound = f"it takes {needed} to bound a rate by {figures.number(clear, 'share', (clear,))}"
            return (
                f"give every patient the network was trained on: {bound}; if these {have} are all, only a waiver of "
                "this checkpoint can clear the gate"
            )
        return "give more hold-out patients: the threshold at 1 % false positives is still too uncertain"
    if gate.metric is Metric.LINKAGE_P:
        return "give more hold-out patients and more seeds; if it persists, treat it as a leak"
    return "lower the risk (augmentation, early stop, larger cohort), or answer for it with a waiver"


def waived_text(text: str, waiver: Waiver) -> str:
    """``text``, followed by who answers for the waiver."""
    return f"{text}; waived by {waiver.approved_by} until {waiver.expires.isoformat()}: {waiver.reason}"
