"""What changed between two reports: verdict, gates, controls, figures, and the conditions they were made under."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from reid_audit.records import (
    METRICS,
    Control,
    ControlStatus,
    Direction,
    Family,
    GateStatus,
    Metric,
    Outcome,
    Sha256,
    direction_of,
)
from reid_audit.report.wire import Label, PublicMeasured, PublicReport, Wire
from reid_audit.severity import worst

SCHEMA: Literal["reid-audit/comparison/1"] = "reid-audit/comparison/1"
RISKY = (Family.LINKAGE, Family.LIKELY, Family.MEMBERSHIP, Family.AGREEMENT, Family.DEMOGRAPHICS)
"""Families whose figures say how much leaks; of the others no direction is worse."""
_VERDICTS = (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL)
Significance = Literal[
    "beyond_chance", "within_chance", "no_interval", "unchanged", "does_not_count", "appeared", "gone"
]


class Compared(Wire):
    """One of the two reports."""

    started: datetime
    version: Label
    checkpoint_sha256: Sha256
    architecture: Label
    outcome: Outcome
    exit_code: int
    screening: bool


class Figure(Wire):
    """A number with its 95 % interval."""

    value: FiniteFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None


class MetricChange(Wire):
    """One figure in both reports. A change is beyond chance where the 95 % interval of the difference excludes 0."""

    metric: Metric
    old: Figure | None = None
    new: Figure | None = None
    change: FiniteFloat | None = None
    """New less old; None where one is missing."""
    low: FiniteFloat | None = None
    """Lower end of the 95 % interval of the difference, where both figures have intervals."""
    high: FiniteFloat | None = None
    significance: Significance
    riskier: bool | None = None
    """Whether the figure moved towards a leak; None where it did not move or has no such direction."""


class GateChange(Wire):
    """A gate whose status is another one; None where that policy has no such gate."""

    metric: Metric
    old: GateStatus | None = None
    old_limit: Literal["fail", "clear"] | None = None
    """Which threshold decided."""
    new: GateStatus | None = None
    new_limit: Literal["fail", "clear"] | None = None


class ControlChange(Wire):
    """A control whose status is another one."""

    name: Control
    old: ControlStatus | None = None
    new: ControlStatus | None = None


class Condition(Wire):
    """Something the two audits do not share, so that their figures are not like for like."""

    name: Label
    old: Label
    new: Label


class Comparison(Wire):
    """``compare.json``. Made from two public reports, so it holds nothing that they do not."""

    schema_id: Literal["reid-audit/comparison/1"] = Field(default=SCHEMA, alias="schema")
    old: Compared
    new: Compared
    verdict: Literal["same", "better", "worse", "not_comparable"]
    breaches_new: tuple[Metric, ...] = ()
    breaches_gone: tuple[Metric, ...] = ()
    waived_new: tuple[Metric, ...] = ()
    waived_gone: tuple[Metric, ...] = ()
    gates: tuple[GateChange, ...] = ()
    controls: tuple[ControlChange, ...] = ()
    metrics: tuple[MetricChange, ...] = ()
    """Every figure that either report has, in the order of docs/metrics.md."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32)] = ()


def compare(old: PublicReport, new: PublicReport) -> Comparison:
    """What is different in ``new``."""
    before, after = old.verdict, new.verdict
    return Comparison(
        old=_compared(old),
        new=_compared(new),
        verdict=_verdict(before.outcome, after.outcome),
        breaches_new=_beyond(after.breaches, before.breaches),
        breaches_gone=_beyond(before.breaches, after.breaches),
        waived_new=_beyond(after.waived, before.waived),
        waived_gone=_beyond(before.waived, after.waived),
        gates=_gates(old, new),
        controls=_controls(old, new),
        metrics=tuple(change for metric in METRICS if (change := metric_change(metric, old, new)) is not None),
        conditions=conditions(old, new),
    )


def difference(old: Figure, new: Figure) -> tuple[float, float] | None:
    """95 % interval of ``new`` less ``old`` from the intervals of both; None where one has none.

    The method of variance estimates recovery (MOVER; Zou and Donner 2008, Statistics in Medicine 27:1693), which for
    two rates is Newcombe's hybrid score interval. It takes the two figures for independent: films that both audits
    share make it wider than needed, so a change it calls beyond chance is.
    """
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return None
    change = new.value - old.value
    below = math.hypot(new.value - new.low, old.high - old.value)
    above = math.hypot(new.high - new.value, old.value - old.low)
    return change - below, change + above


def metric_change(metric: Metric, old: PublicReport, new: PublicReport) -> MetricChange | None:
    """What became of one figure; None where neither report has it."""
    first, second = old.measured(metric), new.measured(metric)
    if first is None or second is None:
        if first is None and second is None:
            return None
        gone: Significance = "appeared" if first is None else "gone"
        before = None if first is None else _figure(first)
        after = None if second is None else _figure(second)
        return MetricChange(metric=metric, old=before, new=after, significance=gone)
    one, two = _figure(first), _figure(second)
    change, spread = two.value - one.value, difference(one, two)
    low, high = (None, None) if spread is None else spread
    return MetricChange(
        metric=metric,
        old=one,
        new=two,
        change=change,
        low=low,
        high=high,
        significance=_significance(first, second, spread),
        riskier=_riskier(metric, change),
    )


def _significance(old: PublicMeasured, new: PublicMeasured, spread: tuple[float, float] | None) -> Significance:
    if any(one.indicator or one.doubt is not None for one in (old, new)):
        return "does_not_count"
    if old.value == new.value and (old.low, old.high) == (new.low, new.high):
        return "unchanged"
    if spread is None or METRICS[old.metric].unit == "p":
        return "no_interval"
    return "within_chance" if spread[0] <= 0 <= spread[1] else "beyond_chance"


def _riskier(metric: Metric, change: float) -> bool | None:
    if change == 0 or METRICS[metric].family not in RISKY:
        return None
    return (change < 0) == (direction_of(metric) is Direction.LOWER)


def conditions(old: PublicReport, new: PublicReport) -> tuple[Condition, ...]:
    """What differs beside the weights and the figures."""
    pairs = zip(_conditions(old), _conditions(new), strict=True)
    return tuple(Condition(name=name, old=a[:120], new=b[:120]) for (name, a), (_, b) in pairs if a != b)


def _conditions(report: PublicReport) -> tuple[tuple[str, str], ...]:
    sides = {side.role: f"{side.patients} patients, {side.images} films" for side in report.cohorts}
    shape, used, predictor = report.preprocess, report.budget, report.predictor
    part = "the whole film" if shape.keep is None else f"keep {shape.keep}"
    frame = (part, shape.resize, shape.crop, shape.interpolation, shape.turn)
    seen = (*frame, shape.per_film, shape.mean, shape.std, shape.invert, shape.scaling)
    return (
        ("reid-audit", report.tool.version),
        ("policy (SHA-256)", report.policy_sha256[:16]),
        ("evidence", report.evidence),
        ("training films", sides.get("reference", "not given")),
        ("hold-out films", sides.get("holdout", "not given")),
        ("prior", f"{report.prior.id} {report.prior.sha256[:16]}"),
        ("age and sex predictor", "none" if predictor is None else f"{predictor.id} {predictor.sha256[:16]}"),
        ("architecture", f"{report.architecture.name} ({report.architecture.library})"),
        ("network input", " × ".join(map(str, report.architecture.input))),
        ("preprocessing", ", ".join(map(str, seen))),
        ("method", report.method),
        ("steps allowed", str(used.steps)),
        ("seconds allowed", "no limit" if used.seconds is None else f"{used.seconds:g}"),
        ("seed", str(report.seeds.master)),
        ("device", report.tool.device),
    )


def _compared(report: PublicReport) -> Compared:
    return Compared(
        started=report.started,
        version=report.tool.version,
        checkpoint_sha256=report.checkpoint.sha256,
        architecture=report.architecture.name,
        outcome=report.verdict.outcome,
        exit_code=report.verdict.exit_code,
        screening=report.verdict.screening,
    )


def _verdict(old: Outcome, new: Outcome) -> Literal["same", "better", "worse", "not_comparable"]:
    if old not in _VERDICTS or new not in _VERDICTS:
        return "not_comparable"
    return "same" if old is new else "worse" if worst((old, new)) == new else "better"


def _figure(measured: PublicMeasured) -> Figure:
    return Figure(value=measured.value, low=measured.low, high=measured.high)


def _beyond(some: tuple[Metric, ...], others: tuple[Metric, ...]) -> tuple[Metric, ...]:
    return tuple(metric for metric in some if metric not in others)


def _gates(old: PublicReport, new: PublicReport) -> tuple[GateChange, ...]:
    before, after = ({row.metric: (row.status, row.limit) for row in report.gates} for report in (old, new))
    changes = []
    for metric in dict.fromkeys((*before, *after)):
        (was, by), (now, through) = before.get(metric, (None, None)), after.get(metric, (None, None))
        if was != now:
            changes.append(GateChange(metric=metric, old=was, old_limit=by, new=now, new_limit=through))
    return tuple(changes)


def _controls(old: PublicReport, new: PublicReport) -> tuple[ControlChange, ...]:
    before, after = ({row.name: row.status for row in report.controls} for report in (old, new))
    every = (ControlChange(name=n, old=before.get(n), new=after.get(n)) for n in dict.fromkeys((*before, *after)))
    return tuple(change for change in every if change.old != change.new)
