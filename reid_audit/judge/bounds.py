"""A measurement beside a gate: which confidence bound counts, and whether it lies beyond a limit."""

from __future__ import annotations

from typing import Literal, NamedTuple

from reid_audit.records import Direction, Gate, Measured, direction_of


class Bound(NamedTuple):
    """The number of a measurement that is compared."""

    number: float
    """The number itself, or the number less its control for an excess gate."""
    name: Literal["value", "low", "high"]


def optimistic(measurement: Measured, gate: Gate) -> Bound:
    """The confidence bound that favours the model, for a breach (the value where there is no interval)."""
    return _bound(measurement, gate, "high" if direction_of(measurement.metric) is Direction.LOWER else "low")


def pessimistic(measurement: Measured, gate: Gate) -> Bound:
    """The confidence bound against the model, for a PASS (the value where there is no interval)."""
    return _bound(measurement, gate, "low" if direction_of(measurement.metric) is Direction.LOWER else "high")


def _bound(measurement: Measured, gate: Gate, name: Literal["low", "high"]) -> Bound:
    end: float | None = getattr(measurement, name)
    over = measurement.control if gate.basis == "excess" and measurement.control is not None else 0.0
    return Bound(measurement.value - over, "value") if end is None else Bound(end - over, name)


def comparable(measurement: Measured, gate: Gate) -> bool:
    """Whether the measurement can be compared with the gate, which for an excess needs a control."""
    return gate.basis == "value" or measurement.control is not None


def exceeds_fail(measurement: Measured, gate: Gate) -> bool:
    """Whether the optimistic bound lies beyond the gate's ``fail`` (on it, for metrics that are riskier downwards)."""
    if gate.fail is None or not comparable(measurement, gate):
        return False
    number = optimistic(measurement, gate).number
    return number <= gate.fail if direction_of(gate.metric) is Direction.LOWER else number > gate.fail


def is_clear(measurement: Measured, gate: Gate) -> bool:
    """Whether the pessimistic bound is within ``clear`` (above it for metrics that are riskier downwards)."""
    if gate.clear is None:
        return True
    if not comparable(measurement, gate):
        return False
    number = pessimistic(measurement, gate).number
    return number > gate.clear if direction_of(gate.metric) is Direction.LOWER else number <= gate.clear


def margin(number: float, limit: float, gate: Gate) -> float:
    """Room left before ``limit``; negative beyond it."""
    sign = -1.0 if direction_of(gate.metric) is Direction.LOWER else 1.0
    return round(sign * (limit - number), 12) + 0.0
