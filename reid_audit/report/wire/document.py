"""The public document as a whole, ``report.json``, and the names of its versions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from reid_audit.records import Fraction, Metric, Sha256
from reid_audit.report.wire.base import Digests, Label, Wire
from reid_audit.report.wire.evidence import (
    PublicAttackRun,
    PublicCurve,
    PublicHistogram,
    PublicMeasured,
    PublicMeasurement,
    PublicOverReferences,
    PublicSubgroup,
)
from reid_audit.report.wire.judgement import ControlRow, Finding, GateRow, PublicNetwork, PublicVerdict
from reid_audit.report.wire.means import (
    PublicCohort,
    PublicEncoder,
    PublicPredictor,
    PublicPrior,
    PublicReferences,
    PublicTool,
)
from reid_audit.report.wire.settings import PublicBudget, PublicDeclared, PublicOption, Seeds
from reid_audit.report.wire.subject import PublicArchitecture, PublicCheckpoint, PublicPreprocess

SCHEMA: Literal["reid-audit/report/2"] = "reid-audit/report/2"
SCHEMA_1 = "reid-audit/report/1"
"""The version before, whose documents are still read (json.py)."""


class PublicReport(Wire):
    """``report.json``. May be attached to a public model card."""

    schema_id: Literal["reid-audit/report/2"] = Field(default=SCHEMA, alias="schema")
    started: datetime
    method: Label
    evidence: Literal["calibrated", "checkpoint"]
    verdict: PublicVerdict
    findings: tuple[Finding, ...] = ()
    gates: tuple[GateRow, ...]
    controls: tuple[ControlRow, ...] = ()
    measurements: tuple[PublicMeasurement, ...] = ()
    histograms: Annotated[tuple[PublicHistogram, ...], Field(max_length=16)] = ()
    curves: Annotated[tuple[PublicCurve, ...], Field(max_length=2)] = ()
    subgroups: Annotated[tuple[PublicSubgroup, ...], Field(max_length=64)] = ()
    over_references: PublicOverReferences | None = None
    cohorts: Annotated[tuple[PublicCohort, ...], Field(max_length=2)] = ()
    attack_runs: Annotated[tuple[PublicAttackRun, ...], Field(max_length=32)] = ()
    budget: PublicBudget
    tool: PublicTool
    checkpoint: PublicCheckpoint
    architecture: PublicArchitecture
    preprocess: PublicPreprocess
    prior: PublicPrior
    predictor: PublicPredictor | None = None
    encoder: PublicEncoder | None = None
    references: PublicReferences | None = None
    seeds: Seeds
    options: Annotated[tuple[PublicOption, ...], Field(max_length=64)] = ()
    false_discovery_rate: Fraction
    policy_sha256: Sha256
    digests: Digests = ()
    networks: tuple[PublicNetwork, ...] = ()
    """All networks of the file, where there are several, or one with copies."""
    declared: PublicDeclared = PublicDeclared()

    def measured(self, metric: Metric) -> PublicMeasured | None:
        """The measurement of ``metric``, None where it is missing."""
        return next((m for m in self.measurements if isinstance(m, PublicMeasured) and m.metric is metric), None)
