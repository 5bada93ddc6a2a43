"""Thresholds on metrics, and which way a metric becomes riskier."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import FiniteFloat

from reid_audit.records.base import Record
from reid_audit.records.metrics import Metric


class Direction(StrEnum):
    """Which way a metric becomes riskier."""

    HIGHER = "higher"
    LOWER = "lower"


class Corroboration(Record):
    """A second metric that must agree before a breach counts: its lower bound (or value) exceeds ``above``."""

    metric: Metric
    above: FiniteFloat


class Gate(Record):
    """Thresholds on one metric.

    A breach compares the confidence bound that favours the model (``low``, or the value),
    a pass compares the other bound (``high``). Between the two lies INCONCLUSIVE.
    """

    metric: Metric
    fail: FiniteFloat | None = None
    """Breached beyond this value; None: this gate never fails a model."""
    clear: FiniteFloat | None = None
    """Supports PASS only up to this value; None: not needed for a PASS."""
    basis: Literal["value", "excess"] = "value"
    """``excess`` subtracts the control before comparing."""
    corroborated_by: tuple[Corroboration, ...] = ()
    """A breach counts only if at least one of these agrees (empty: it counts alone)."""
