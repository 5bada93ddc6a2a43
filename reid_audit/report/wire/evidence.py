"""What was measured: numbers, null distributions, curves, subgroups, runs of the attack."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, model_validator

from reid_audit.records import GroupedBy, Metric, Reason, StoppedBy
from reid_audit.report.wire.base import MAX_POINTS, Label, Points, Sentence, Wire


class PublicMeasured(Wire):
    """A number, its 95 % interval, the same number where nothing can have leaked, and its gate's fail threshold."""

    status: Literal["measured"] = "measured"
    metric: Metric
    value: FiniteFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    control: FiniteFloat | None = None
    threshold: FiniteFloat | None = None
    n: NonNegativeInt | None = None
    p: FiniteFloat | None = None
    """One-sided permutation p of the excess over the control, where the metric has one."""
    indicator: bool = False
    doubt: Reason | None = None
    """Why an indicator must not decide, where the judge found an assumption broken."""


class PublicUnmeasured(Wire):
    """A missing number: an enumerated reason with its fixed text."""

    status: Literal["unmeasured"] = "unmeasured"
    metric: Metric
    reason: Reason
    text: Sentence


PublicMeasurement = Annotated[PublicMeasured | PublicUnmeasured, Field(discriminator="status")]


class PublicHistogram(Wire):
    """A null distribution and the observed value. Counts are of null draws, never of patients."""

    metric: Metric
    edges: Points
    counts: Annotated[tuple[NonNegativeInt, ...], Field(max_length=MAX_POINTS)]
    observed: FiniteFloat

    @model_validator(mode="after")
    def _edges_enclose_counts(self) -> PublicHistogram:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError("a histogram needs one edge more than counts")
        return self


class PublicSubgroup(Wire):
    """Training patients of one group, 10 of them or more, and how many are recognised at 1 % false alarms."""

    by: GroupedBy
    name: Label
    patients: Annotated[int, Field(ge=10)]
    rate: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    difference: FiniteFloat
    """``rate`` less that of everybody else."""


Cell = Annotated[int, Field(ge=10)] | None
"""Patients; None where they are fewer than 10, or where the others would tell how many."""


class PublicOverReferences(Wire):
    """How many patients are recognised over how large a share of pairs of reference models, in fifths."""

    references: NonNegativeInt
    counts: tuple[Cell, Cell, Cell, Cell, Cell]
    alike: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    """The same, were all patients recognised as easily."""


class PublicCurve(Wire):
    """A curve resampled to a fixed grid, so that no point belongs to one patient."""

    id: Literal["membership_roc"]
    x: Points
    y: Points

    @model_validator(mode="after")
    def _same_length(self) -> PublicCurve:
        if len(self.x) != len(self.y):
            raise ValueError("x and y differ in length")
        return self


class PublicAttackRun(Wire):
    """One run of the attack or one control."""

    name: Literal["target", "negative_control", "attack_power", "scorer_sensitivity", "membership_control"]
    seconds: FiniteFloat
    steps: NonNegativeInt
    stopped_by: StoppedBy
    energy_start: FiniteFloat | None = None
    energy_end: FiniteFloat | None = None
    images: NonNegativeInt = 0
    note: Label = ""
