"""What was done to a checkpoint, and what that does to the evidence of an audit."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat, NonNegativeInt

from reid_audit.records.base import Fraction, Record
from reid_audit.records.result import AuditResult
from reid_audit.records.verdict import Outcome

MitigationEffect = Literal["replaces", "blunts", "hides", "trims"]
"""What a mitigation does to what an audit reads.

``replaces``: the statistics are those of other films, written so that the audit finds none. ``blunts``: what is read
becomes less exact, while the planted patients of the controls are read without that. ``hides``: what an attack reads is
gone from sight and not from the weights. ``trims``: what lies beside the network is left out.
"""


class AppliedMitigation(Record):
    """One mitigation as it was applied."""

    name: str
    """As ``--apply`` names it."""
    idea: str
    source: str
    """Citation."""
    done: str
    """What it did, with its numbers."""
    remains: tuple[str, ...]
    """What it does not protect from."""
    effect: MitigationEffect


class UtilityRow(Record):
    """One figure of the original and the copy on the same hold-out films, with 95 % intervals over patients."""

    name: Literal["accuracy", "auc", "loss", "error"]
    patients: NonNegativeInt
    before: FiniteFloat
    before_low: FiniteFloat
    before_high: FiniteFloat
    after: FiniteFloat
    after_low: FiniteFloat
    after_high: FiniteFloat
    change: FiniteFloat
    low: FiniteFloat
    """Lower end of the change, over the same draws of patients for both networks."""
    high: FiniteFloat


class CarriedPatients(Record):
    """Patients that were planted into the original and went through the mitigations with it."""

    patients: NonNegativeInt
    before: Fraction
    """Share of them that the membership score tells at 1 % false positives, in the planted original."""
    after: Fraction
    """The same after the mitigations."""


UtilityMissing = Literal["", "no_labels", "no_answers"]
"""Why there is no utility; empty where there is."""


class MitigationResult(Record):
    """A checkpoint before and after its mitigations, audited with the same seeds and films."""

    before: AuditResult
    after: AuditResult
    """Its verdict is the one that counts: ``standing`` withholds a PASS where mitigations only blinded the audit."""
    alone: Outcome
    """What the audit of the copy says without knowing how the copy came about."""
    applied: tuple[AppliedMitigation, ...]
    public_films: NonNegativeInt = 0
    """Films of other people that the mitigations used."""
    carried: CarriedPatients | None = None
    utility: tuple[UtilityRow, ...] = ()
    utility_missing: UtilityMissing = ""
