"""Figures about few people are not published, nor the sentences that quote them."""

from __future__ import annotations

from collections.abc import Iterable

from reid_audit.records import REASON_TEXT, Family, Measured, Measurement, Metric, Reason, Unmeasured, family
from reid_audit.report.publication.texts import scrub

SMALL_CELL = 10
"""Demographic figures about fewer people are not published."""
DEMOGRAPHIC = family(Family.DEMOGRAPHICS)


def small_cells(measurements: Iterable[Measurement]) -> frozenset[Metric]:
    """Metrics about fewer people than are published."""
    found = tuple(suppressed(m) for m in measurements)
    return frozenset(m.metric for m in found if isinstance(m, Unmeasured) and m.reason is Reason.SMALL_CELL)


def suppressed(measurement: Measurement) -> Measurement:
    """``measurement``, or that it is about too few people to be published."""
    if not isinstance(measurement, Measured) or measurement.metric not in DEMOGRAPHIC:
        return measurement
    if measurement.n is None or measurement.n < SMALL_CELL:
        return Unmeasured(metric=measurement.metric, reason=Reason.SMALL_CELL)
    return measurement


def sentence(text: str, hidden: frozenset[Metric], about: Metric | None = None) -> str:
    """``text`` scrubbed; replaced where it speaks of a suppressed metric, because it may quote the number."""
    if about in hidden or any(metric.value in text for metric in hidden):
        return f"A gate on age or sex; {REASON_TEXT[Reason.SMALL_CELL]}"
    return scrub(text)
