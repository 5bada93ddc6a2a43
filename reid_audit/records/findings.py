"""What an audit measured beside its metrics: runs of the attack, null distributions, curves, subgroups."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveInt

from reid_audit.records.base import Record
from reid_audit.records.metrics import Metric
from reid_audit.records.spend import Spend


class AttackRun(Record):
    """One run of the attack or one control."""

    name: Literal["target", "negative_control", "attack_power", "scorer_sensitivity", "membership_control"]
    spend: Spend
    energy_start: FiniteFloat | None = None
    energy_end: FiniteFloat | None = None
    images: int = 0
    note: str = ""
    """One fixed phrase, no free text from inputs."""


GroupedBy = Literal["sex", "age", "label", "stratum", "films"]


class Subgroup(Record):
    """Training patients of one group, and how many of them are recognised at 1 % false alarms."""

    by: GroupedBy
    name: str
    """The word of the manifest, or the band."""
    patients: NonNegativeInt
    recognised: NonNegativeInt
    rate: FiniteFloat
    low: FiniteFloat
    """Lower end of the 95 % interval of ``rate``."""
    high: FiniteFloat
    difference: FiniteFloat
    """``rate`` less that of everybody else."""


class Histogram(Record):
    """A null distribution with the observed value, for the report's plots."""

    id: Metric
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    observed: float


class Curve(Record):
    """A curve on a fixed grid (never one point per patient)."""

    id: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class OverReferences(Record):
    """How often patients are recognised, over pairs of reference models one with the patient and one without."""

    references: PositiveInt
    counts: tuple[NonNegativeInt, ...]
    """Patients of both cohorts in each fifth of the share of pairs, from 0 to 1."""
    alike: tuple[NonNegativeFloat, ...]
    """The same, were all patients recognised as easily."""
