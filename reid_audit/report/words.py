"""The plain words and number formats every rendering shares."""

from __future__ import annotations

from reid_audit import figures
from reid_audit.records import (
    CONTROLS,
    METRICS,
    REASON_TEXT,
    ControlStatus,
    GateStatus,
    GroupedBy,
    Metric,
    Outcome,
    Reason,
    ReducedStage,
    Role,
    StoppedBy,
    Unit,
)
from reid_audit.report.wire import (
    GateRow,
    PublicMeasured,
    PublicReport,
    PublicUnmeasured,
)

OUTCOME_WORD: dict[Outcome, str] = {
    Outcome.PASS: "Pass",
    Outcome.FAIL: "Fail",
    Outcome.INCONCLUSIVE: "Inconclusive",
    Outcome.NOT_AUDITED: "Not audited",
    Outcome.REFUSED: "Refused",
}

OUTCOME_MEANING: dict[Outcome, str] = {
    Outcome.PASS: "Nothing was found at this budget.",
    Outcome.FAIL: "Do not release these weights as they are.",
    Outcome.INCONCLUSIVE: "Neither safe nor unsafe has been shown. Evidence is missing; see what would supply it.",
    Outcome.NOT_AUDITED: "The audit did not run. Nothing is known about these weights.",
    Outcome.REFUSED: "The file was not opened, because opening it could run code.",
}

GATE_WORD: dict[GateStatus, str] = {
    "breach": "Breach",
    "waived": "Waived",
    "clear": "Clear",
    "open": "Open",
    "indicator": "Indicator",
    "unmeasured": "Not measured",
    "off": "Off",
}

GATE_MEANING: dict[GateStatus, str] = {
    "breach": "beyond the threshold: fails the model",
    "waived": "beyond the threshold, accepted by a named person until a date",
    "clear": "within the threshold",
    "open": "undecided: too uncertain, or not confirmed by a second metric",
    "indicator": "shown, but an assumption is not met: decides nothing",
    "unmeasured": "there is no number, or none to compare it with",
    "off": "the policy sets no limit",
}

CONTROL_WORD: dict[ControlStatus, str] = {
    "met": "Met",
    "missed": "Missed",
    "unmeasured": "Not measured",
    "not_required": "Not required",
}

ATTACK_RUNS: dict[str, str] = {
    "target": "Attack on this model",
    "negative_control": "Attack without the model",
    "attack_power": "Attack on planted patients",
    "scorer_sensitivity": "Matching of degraded films",
    "membership_control": "Membership of planted patients",
}

GROUPED_BY: dict[GroupedBy, str] = {
    "sex": "Sex",
    "age": "Age",
    "label": "Training label",
    "stratum": "Stratum",
    "films": "Films of a patient",
}

REDUCED: dict[ReducedStage, str] = {
    "films": "Patients whose films were read, chosen by chance",
    "metric": "Images of the prior that the attack's metric was measured on",
    "attack": "Steps of each attack",
    "references": "Reference models that membership was scored against",
    "membership": "Patients whose membership was asked, chosen by chance before any score was seen",
    "batch_correction": "Passes for the correction of the training batch size",
    "attack_power": "Attacks on planted patients, without which there is no PASS",
}
"""What a time budget made smaller, in the order of the audit."""

STOPPED: dict[StoppedBy, str] = {
    StoppedBy.COMPLETE: "complete",
    StoppedBy.STEPS: "step limit",
    StoppedBy.SECONDS: "time limit",
}

NOT_A_PASS: tuple[str, ...] = (
    "It covers images. Names, reports or other inputs a model may have memorised are not tested.",
    "It holds for this attack at this budget. A stronger attack may find more.",
    "The controls plant a handful of strongly memorised patients. A faint leak across hundreds may stay unseen.",
    "It is not a proof of anonymity and not a differential-privacy guarantee.",
)


def number(value: float | None, unit: Unit, beside: figures.Limits = ()) -> str:
    """``value`` as a reader expects it, told apart from the limits in ``beside``; an en dash where there is none."""
    return "–" if value is None else figures.number(value, unit, beside).replace("-", "−")


def digits(value: float | None) -> str:
    """``value`` with three digits and no unit, as the charts show it; an en dash where there is none."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def interval(low: float | None, high: float | None, unit: Unit, beside: figures.Limits = ()) -> str:
    """``low to high``; empty where there is no interval."""
    if low is None and high is None:
        return ""
    return f"{number(low, unit, beside)} to {number(high, unit, beside)}"


def threshold(value: float | None, unit: Unit) -> str:
    """A limit as it was set, no digit less; an en dash where there is none."""
    return number(value, unit, (value,))


def meaning(report: PublicReport, metric: Metric) -> str:
    """What the number of ``metric`` says in this report: with or without films of both cohorts."""
    return METRICS[metric].sentence(films=len(report.cohorts) == 2)


def limits(row: GateRow) -> tuple[str, ...]:
    """The thresholds of a gate in words, one phrase each, with the end of the interval that is held against each."""
    unit = METRICS[row.metric].unit
    lower = row.direction == "lower"
    beyond, within = ("at or below", "above") if lower else ("above", "up to")
    over = " over control" if row.basis == "excess" else ""
    kind, other = ("with its high end ", "with its low end ") if lower else ("with its low end ", "with its high end ")
    if row.low is None and row.high is None:
        kind = other = ""
    parts = []
    if row.fail is not None:
        parts.append(f"fails {kind}{beyond} {threshold(row.fail, unit)}{over}")
    if row.clear is not None:
        parts.append(f"clear {other}{within} {threshold(row.clear, unit)}{over}")
    return tuple(parts)


def partners(row: GateRow) -> str:
    """Which second metric has to agree before a breach counts; empty where it counts alone."""
    named = [
        f"{METRICS[c.metric].label.lower()} above {threshold(c.above, METRICS[c.metric].unit)}"
        for c in row.corroborated_by
    ]
    return f"counts only with {' or '.join(named)}" if named else ""


def doubted(reason: Reason | None) -> str:
    """Why a measured number does not count; empty where it does."""
    return f"does not count: {REASON_TEXT[reason]}" if reason else ""


def absent(report: PublicReport, metric: Metric) -> str:
    """Why ``metric`` has no number; empty where it has one."""
    found = next((m for m in report.measurements if m.metric is metric), None)
    return found.text if isinstance(found, PublicUnmeasured) else ""


def doubts(report: PublicReport) -> tuple[str, ...]:
    """Each reason for which figures of this report do not count, once."""
    found = dict.fromkeys(m.doubt for m in report.measurements if isinstance(m, PublicMeasured) and m.doubt is not None)
    return tuple(f"Figures marked “does not count”: {REASON_TEXT[reason]}." for reason in found)


def duration(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 20 s`` or ``1 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s".removesuffix(" 0 s")
    return f"{whole // 3600} h {whole % 3600 // 60} min".removesuffix(" 0 min")


def title(report: PublicReport) -> str:
    """Heading of the document: a screening says so."""
    return "Re-identification screening" if report.verdict.screening else "Re-identification audit"


def people(report: PublicReport, role: Role) -> int | None:
    """Patients on one cohort, None where that cohort was not given."""
    return next((c.patients for c in report.cohorts if c.role == role), None)


def recovered(report: PublicReport) -> tuple[int, int] | None:
    """(re-identified patients, training patients), None where not measured."""
    found = report.measured(Metric.REIDENTIFIED_PATIENTS)
    patients = people(report, "reference")
    return None if found is None or not patients else (round(found.value), patients)


__all__ = ["CONTROLS", "METRICS", "Unit"]
