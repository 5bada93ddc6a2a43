"""``mitigation.json``: a checkpoint before and after its mitigations, made from two public reports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from reid_audit.records import (
    METRICS,
    CarriedPatients,
    Control,
    Family,
    Metric,
    MitigationEffect,
    MitigationResult,
    Outcome,
    UtilityMissing,
    UtilityRow,
)
from reid_audit.report.compare import RISKY, Comparison, MetricChange, compare
from reid_audit.report.publication import publish
from reid_audit.report.wire import ControlRow, Finding, Label, PublicReport, Sentence, Wire

SCHEMA: Literal["reid-audit/mitigation/1"] = "reid-audit/mitigation/1"
REBUILT = (Family.LINKAGE, Family.LIKELY, Family.AGREEMENT, Family.DEMOGRAPHICS)
"""Families of figures about reconstructions."""
Blind = Literal["", "nothing_to_read", "out_of_sight", "answers_alone"]
"""Why a figure of the copy says less than that of the original; empty where it says as much."""


class PublicMitigation(Wire):
    """One mitigation as it was applied."""

    name: Label
    idea: Sentence
    source: Sentence
    done: Sentence
    remains: tuple[Sentence, ...]
    effect: MitigationEffect


class MitigationFigure(Wire):
    """A figure of a leak before and after."""

    figure: MetricChange
    blind: Blind = ""


class ControlPair(Wire):
    """A control of both audits."""

    name: Control
    before: ControlRow
    after: ControlRow


class MitigationDocument(Wire):
    """``mitigation.json``. Made from two public reports, so it holds nothing that they do not."""

    schema_id: Literal["reid-audit/mitigation/1"] = Field(default=SCHEMA, alias="schema")
    outcome: Outcome
    """Of the copy."""
    exit_code: int
    reason: Sentence
    alone: Outcome
    """What the audit of the copy says without knowing how the copy came about."""
    applied: tuple[PublicMitigation, ...]
    public_films: NonNegativeInt = 0
    networks: NonNegativeInt = 1
    """Networks of the original's file; the copy holds the first of them."""
    statistics_replaced: bool = False
    """Whether the copy's statistics are those of other films, and the original stored its own."""
    missing: tuple[Finding, ...] = ()
    """What a pass of the copy lacks."""
    carried: CarriedPatients | None = None
    utility: tuple[UtilityRow, ...] = ()
    utility_missing: UtilityMissing = ""
    figures: tuple[MitigationFigure, ...] = ()
    controls: tuple[ControlPair, ...] = ()
    comparison: Annotated[Comparison, Field(description="All that differs between the two reports.")]


def document(found: MitigationResult) -> MitigationDocument:
    """What may be published of ``found``."""
    before, after = publish(found.before), publish(found.after)
    compared = compare(before, after)
    shown = [each for each in compared.metrics if METRICS[each.metric].family in RISKY]
    effects = {one.effect for one in found.applied}
    replaced = "replaces" in effects and bool(found.before.architecture.data_statistics)
    return MitigationDocument(
        outcome=after.verdict.outcome,
        exit_code=after.verdict.exit_code,
        reason=after.verdict.reason,
        alone=found.alone,
        applied=tuple(PublicMitigation(**one.model_dump()) for one in found.applied),
        public_films=found.public_films,
        networks=max(1, len(found.before.networks)),
        statistics_replaced=replaced,
        missing=tuple(finding for finding in after.findings if finding.kind == "gap"),
        carried=found.carried,
        utility=found.utility,
        utility_missing=found.utility_missing,
        figures=tuple(MitigationFigure(figure=each, blind=_blind(each, effects, replaced=replaced)) for each in shown),
        controls=_controls(before, after),
        comparison=compared,
    )


def _blind(figure: MetricChange, effects: set[MitigationEffect], *, replaced: bool) -> Blind:
    """Reconstructions from replaced statistics are of nobody in training; where something is hidden, every figure reads
    less than before."""
    if figure.metric is Metric.GENERALISATION_GAP:
        return ""
    if "hides" in effects:
        return "out_of_sight"
    if not replaced:
        return ""
    return "nothing_to_read" if METRICS[figure.metric].family in REBUILT else "answers_alone"


def sees(found: MitigationDocument) -> bool:
    """Whether the membership score was shown to find planted patients in the copy."""
    return any(p.name is Control.MEMBERSHIP_CONTROL and p.after.status == "met" for p in found.controls)


def _controls(before: PublicReport, after: PublicReport) -> tuple[ControlPair, ...]:
    known = {row.name: row for row in before.controls}
    return tuple(
        ControlPair(name=row.name, before=known[row.name], after=row) for row in after.controls if row.name in known
    )
