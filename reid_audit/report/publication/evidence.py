"""Of the measurements, what is published."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from reid_audit.records import (
    REASON_TEXT,
    AuditResult,
    Curve,
    Histogram,
    Measured,
    Measurement,
    Metric,
    Policy,
    Reason,
    Unmeasured,
)
from reid_audit.report.publication.small_cells import SMALL_CELL
from reid_audit.report.publication.texts import scrub, word
from reid_audit.report.wire import (
    PublicAttackRun,
    PublicCurve,
    PublicHistogram,
    PublicMeasured,
    PublicMeasurement,
    PublicOverReferences,
    PublicSubgroup,
    PublicUnmeasured,
)

MAX_BINS = 60
"""A finer histogram is merged until it has no more."""
ROC_GRID: tuple[float, ...] = (
    *(0.0, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07),
    *(round(0.1 + 0.05 * i, 2) for i in range(19)),
)
"""False-positive rates at which curves are published."""


def demoted(measurement: Measurement, doubts: dict[Metric, Reason]) -> Measurement:
    """``measurement`` marked as an indicator where the judge found an assumption of its test broken."""
    if isinstance(measurement, Measured) and measurement.metric in doubts:
        return measurement.model_copy(update={"indicator": True})
    return measurement


def public_measurement(measurement: Measurement, policy: Policy, doubts: dict[Metric, Reason]) -> PublicMeasurement:
    """One number beside the threshold of its gate, or the reason why there is none."""
    if isinstance(measurement, Unmeasured):
        return PublicUnmeasured(
            metric=measurement.metric, reason=measurement.reason, text=REASON_TEXT[measurement.reason]
        )
    gate = policy.gate(measurement.metric)
    return PublicMeasured(
        metric=measurement.metric,
        value=measurement.value,
        low=measurement.low,
        high=measurement.high,
        control=measurement.control,
        threshold=gate.fail if gate else None,
        n=measurement.n,
        p=measurement.p,
        indicator=measurement.indicator,
        doubt=doubts.get(measurement.metric),
    )


def public_histogram(histogram: Histogram) -> PublicHistogram:
    """Neighbouring bins are merged until at most ``MAX_BINS`` remain."""
    edges, counts = list(histogram.edges), list(histogram.counts)
    while len(counts) > MAX_BINS:
        counts = [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]
        edges = [*edges[:-1:2], edges[-1]]
    return PublicHistogram(metric=histogram.id, edges=tuple(edges), counts=tuple(counts), observed=histogram.observed)


def public_curve(curve: Curve) -> PublicCurve:
    """The step curve read off at ``ROC_GRID``, rounded to a thousandth."""
    points = sorted(zip(curve.x, curve.y, strict=True))
    xs = [x for x, _ in points]
    heights = [max((y for _, y in points[: bisect_right(xs, x)]), default=0.0) for x in ROC_GRID]
    return PublicCurve(
        id="membership_roc",
        x=ROC_GRID,
        y=tuple(round(y, 3) for y in heights),
    )


def public_subgroups(result: AuditResult) -> tuple[PublicSubgroup, ...]:
    """Groups of ``SMALL_CELL`` training patients and more; words that could name somebody are hidden."""
    return tuple(
        PublicSubgroup(
            by=group.by,
            name=group.name if group.by in ("age", "films") else word(group.name, "other word"),
            patients=group.patients,
            rate=round(group.rate, 3),
            low=round(group.low, 3),
            high=round(group.high, 3),
            difference=round(group.difference, 3),
        )
        for group in result.subgroups[:64]
        if group.patients >= SMALL_CELL
    )


def public_over_references(result: AuditResult) -> PublicOverReferences | None:
    """How many patients are recognised how often, without the cells of ``hidden_cells``."""
    over = result.over_references
    if over is None:
        return None
    hidden = hidden_cells(over.counts)
    counts = tuple(None if cell in hidden else count for cell, count in enumerate(over.counts))
    return PublicOverReferences.model_validate({"references": over.references, "counts": counts, "alike": over.alike})


def hidden_cells(counts: Sequence[int]) -> frozenset[int]:
    """Places of the cells that are not published: those of fewer than ``SMALL_CELL`` patients, and the smallest of the
    others until at least two are hidden that hold ``SMALL_CELL`` together. The number of all patients is published, so
    that their sum is known.
    """
    hidden = [cell for cell, count in enumerate(counts) if count < SMALL_CELL]
    others = sorted((cell for cell, count in enumerate(counts) if count >= SMALL_CELL), key=counts.__getitem__)
    while hidden and others and (len(hidden) < 2 or sum(counts[cell] for cell in hidden) < SMALL_CELL):
        hidden.append(others.pop(0))
    return frozenset(hidden)


def public_attack_runs(result: AuditResult) -> tuple[PublicAttackRun, ...]:
    """Time, steps and energies of each run; no image."""
    return tuple(
        PublicAttackRun(
            name=run.name,
            seconds=round(run.spend.seconds, 3),
            steps=run.spend.steps,
            stopped_by=run.spend.stopped_by,
            energy_start=run.energy_start,
            energy_end=run.energy_end,
            images=run.images,
            note=scrub(run.note, 120),
        )
        for run in result.attack_runs
    )
