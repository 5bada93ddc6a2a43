"""``sweep.json``: every audit of a sweep in one row, the worst first; made from public reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, FiniteFloat, NonNegativeInt

from reid_audit import __version__
from reid_audit.records import EXIT_CODES, Metric, Outcome, Sha256
from reid_audit.report.plain import headline
from reid_audit.report.wire import Label, PublicReport, Wire
from reid_audit.severity import WORST_FIRST, code_of, worst

SCHEMA: Literal["reid-audit/sweep/1"] = "reid-audit/sweep/1"
FIGURES = (Metric.MEMBERSHIP_TPR, Metric.MEMBERSHIP_AUC, Metric.LINKAGE_P)
"""What a row shows of the figures; the report has all of them."""
PENDING = "not audited yet"


class SweepFigure(Wire):
    """One figure of a report."""

    metric: Metric
    value: FiniteFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None


class SweepRow(Wire):
    """One audit."""

    row: NonNegativeInt
    """Of the table, as a spreadsheet counts."""
    name: Label
    """As the table calls it."""
    seed: NonNegativeInt
    outcome: Outcome
    exit_code: int
    """Of its own ``check``."""
    reason: str
    """For an audit without a verdict the refusal, which may name a file of the checkpoint."""
    breaches: tuple[Metric, ...] = ()
    figures: tuple[SweepFigure, ...] = ()
    architecture: Label = ""
    checkpoint_sha256: Sha256 | None = None
    seconds: FiniteFloat = 0.0
    """That its process took."""
    report: str = ""
    """Folder of its reports, from this document's on; empty where there are none."""
    html: bool = False
    """Whether ``report.html`` is among them."""


class SweepDocument(Wire):
    """``sweep.json``."""

    schema_id: Literal["reid-audit/sweep/1"] = Field(default=SCHEMA, alias="schema")
    version: Label
    outcome: Outcome
    """The worst of all."""
    exit_code: int
    """After ``--fail-on``."""
    policy_sha256: Sha256
    counts: dict[Outcome, NonNegativeInt]
    rows: tuple[SweepRow, ...]
    """The worst first."""


def row_of(
    report: PublicReport, *, row: int, name: str, seed: int, seconds: float, folder: str, html: bool
) -> SweepRow:
    """What a finished report says. folder: of the report, from the summary's on."""
    found = [(metric, report.measured(metric)) for metric in FIGURES]
    return SweepRow(
        row=row,
        name=name,
        seed=seed,
        outcome=report.verdict.outcome,
        exit_code=report.verdict.exit_code,
        reason=headline(report),
        breaches=report.verdict.breaches,
        figures=tuple(
            SweepFigure(metric=metric, value=one.value, low=one.low, high=one.high) for metric, one in found if one
        ),
        architecture=report.architecture.name,
        checkpoint_sha256=report.checkpoint.sha256,
        seconds=seconds,
        report=folder,
        html=html,
    )


def without_verdict(*, row: int, name: str, seed: int, code: int, said: Iterable[str], seconds: float) -> SweepRow:
    """An audit that ended without a verdict, or has not begun."""
    outcome = Outcome.REFUSED if code == EXIT_CODES[Outcome.REFUSED] else Outcome.NOT_AUDITED
    reason = ". ".join(said)
    return SweepRow(row=row, name=name, seed=seed, outcome=outcome, exit_code=code, reason=reason, seconds=seconds)


def document(rows: Iterable[SweepRow], *, policy_sha256: str, fail_on: str) -> SweepDocument:
    """The summary: rows worst first, then by breaches, then by how many patients could be recognised, then as in the
    table."""
    ordered = tuple(sorted(rows, key=_badness))
    outcomes = [row.outcome for row in ordered]
    return SweepDocument(
        version=__version__,
        outcome=Outcome(worst(outcomes)),
        exit_code=code_of(outcomes, fail_on),
        policy_sha256=policy_sha256,
        counts={Outcome(name): outcomes.count(Outcome(name)) for name in WORST_FIRST if Outcome(name) in outcomes},
        rows=ordered,
    )


def _badness(row: SweepRow) -> tuple[int, int, float, int, int]:
    recognised = next((one.value for one in row.figures if one.metric is Metric.MEMBERSHIP_TPR), 0.0)
    return WORST_FIRST.index(row.outcome), -len(row.breaches), -recognised, row.row, row.seed
