"""What an audit found: summaries, provenance and the verdict. No tensors, no pixels, no patient ids."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from reid_audit.records.base import Record, Sha256
from reid_audit.records.cards import EncoderCard, PredictorCard, PriorCard
from reid_audit.records.cohorts import CohortSummary
from reid_audit.records.findings import AttackRun, Curve, Histogram, OverReferences, Subgroup
from reid_audit.records.metrics import Measurement, replaced
from reid_audit.records.policy import Budget, Policy, Waiver
from reid_audit.records.preprocess import PreprocessFit, PreprocessSpec
from reid_audit.records.references import ReferenceSummary
from reid_audit.records.spend import Reduced, Spend
from reid_audit.records.subject import ArchMatch, CheckpointSummary
from reid_audit.records.verdict import Gap, Verdict


class ToolInfo(Record):
    """What ran the audit."""

    version: str
    python: str
    torch: str
    device: str
    deterministic: bool = False


class NetworkRecord(Record):
    """One network of the audited file, or what is shaped like one and could not be audited."""

    name: str
    """Where in the file it is, in words that can be shown; empty: at the top."""
    copies: tuple[tuple[str, str], ...] = ()
    """(where else in the file the same weights are, how they are the same)"""
    beside: tuple[str, ...] = ()
    """Names of tensors beside it that it does not run."""
    tensors: int = 0
    parameters: int = 0
    """Floating-point values of its own entries, buffers excluded."""
    why: str = ""
    """Why it was not audited; empty where it was."""
    remedy: str = ""
    verdict: Verdict | None = None
    """On this network alone; None where it was not audited."""
    spend: Spend | None = None
    audited: AuditResult | None = None
    """Everything else the audit said of it; None where it was not audited, and for the one the file's result shows."""
    shown: bool = False
    """Whether the result that holds this record is about this network."""

    @property
    def place(self) -> str:
        """Where in the file it is, as sentences name it."""
        return self.name or "the top of the file"


class AuditResult(Record):
    """Everything a report may be made from."""

    tool: ToolInfo
    started: datetime
    method: str
    checkpoint: CheckpointSummary
    architecture: ArchMatch
    preprocess: PreprocessSpec
    preprocess_by: Literal["policy", "statistics", "answers", "default"] = "default"
    preprocess_fit: PreprocessFit | None = None
    """What the network says of its preprocessing, asked with films of both cohorts pooled."""
    preprocess_fitting_training_films: PreprocessSpec | None = None
    """The same asked with the training films alone, for the control; the audit itself does not use it."""
    prior: PriorCard
    predictor: PredictorCard | None = None
    """What read age and sex; None where nothing did."""
    encoder: EncoderCard | None = None
    """What compared reconstructions with films a second time; None where nothing did."""
    references: ReferenceSummary | None = None
    """The reference models that membership was scored against; None: none."""
    cohorts: tuple[CohortSummary, ...] = ()
    attack_runs: tuple[AttackRun, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    repeats: tuple[tuple[Measurement, ...], ...] = ()
    """What the attack's other seeds gave instead, one tuple a seed."""
    histograms: tuple[Histogram, ...] = ()
    curves: tuple[Curve, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
    """How the recognised patients are spread over groups."""
    over_references: OverReferences | None = None
    """How often patients are recognised over the reference models; None with fewer than four."""
    policy: Policy
    policy_sha256: Sha256
    waivers: tuple[Waiver, ...] = ()
    budget: Budget
    spend: Spend
    reduced: tuple[Reduced, ...] = ()
    """What the time budget made smaller."""
    seed: int
    options: tuple[tuple[str, str], ...] = ()
    """(flag, value) of the command as it was given, defaults left out; paths and names of columns in full."""
    digests: tuple[tuple[str, str], ...] = ()
    """(name, SHA-256), for example ("reconstructions", "...")."""
    verdict: Verdict
    """Of the file; where it holds one network, of that."""
    networks: tuple[NetworkRecord, ...] = ()
    """Every network of the file, where there are several, or one with copies; else empty."""
    standing: tuple[Gap, ...] = ()
    """What withholds a PASS under every policy, because of what was done to the file before it was audited."""

    def by_seed(self) -> tuple[tuple[Measurement, ...], ...]:
        """All measurements as each attack seed has them, the first seed first."""
        return (self.measurements, *(replaced(self.measurements, other) for other in self.repeats))


NetworkRecord.model_rebuild()
