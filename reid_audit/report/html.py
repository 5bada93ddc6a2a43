"""``report.html``: one offline page."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from reid_audit.records import Metric, Unit
from reid_audit.report import charts, plain, wording, words
from reid_audit.report.command import command, repeatability
from reid_audit.report.templating import page
from reid_audit.report.wire import PublicMeasured, PublicReport

_DEMOGRAPHICS: tuple[tuple[str, Metric, Metric], ...] = (
    ("Reconstruction", Metric.AGE_MAE_RECONSTRUCTION, Metric.SEX_ACCURACY_RECONSTRUCTION),
    ("Nearest neighbour", Metric.AGE_MAE_NEAREST, Metric.SEX_ACCURACY_NEAREST),
    ("Guessing without images", Metric.AGE_MAE_BASE, Metric.SEX_ACCURACY_BASE),
)


class Shift(NamedTuple):
    """One distribution metric: a chart and its row of the table."""

    name: str
    plot: Markup
    cells: tuple[str, ...]
    missing: str
    """Why a figure of the row has no number; empty where all have."""


class Guess(NamedTuple):
    """One row of the demographic table."""

    name: str
    age: PublicMeasured | None
    sex: PublicMeasured | None
    missing: str


def render_html(report: PublicReport) -> str:
    """The whole page as text; no script, no outside request."""
    return page(
        "report.html.j2",
        r=report,
        w=words,
        wording=wording,
        plain=plain,
        title=words.title(report),
        outcome=words.OUTCOME_WORD[report.verdict.outcome],
        gates=tuple(
            (row, wording.of_gate(row, report), charts.decision_plot(row, f"gate-{row.metric}")) for row in report.gates
        ),
        controls=tuple((row, wording.of_control(row)) for row in report.controls),
        nulls=tuple((charts.null_name(h), charts.null_histogram(h, f"null-{h.metric}")) for h in report.histograms),
        rocs=tuple(charts.roc(c, report.measured(Metric.MEMBERSHIP_TPR), f"curve-{c.id}") for c in report.curves),
        bracket=_bracket(report),
        over=_over_references(report),
        time_used=charts.time_used(report.attack_runs, report.budget.seconds, report.budget.spent_seconds, "time"),
        shifts=_shifts(report),
        demographics=_demographics(report),
        mitigations=plain.mitigations(report),
        again=command(report),
        repeatability=repeatability(report),
    )


def _bracket(report: PublicReport) -> Markup:
    found = words.recovered(report)
    recognised = report.measured(Metric.MEMBERSHIP_TPR)
    if found is None and recognised is None:
        return Markup("")
    return charts.bracket(None if found is None else found[0] / found[1], recognised, "bracket")


def _over_references(report: PublicReport) -> Markup:
    over = report.over_references
    return Markup("") if over is None else charts.over_references(over.counts, over.alike, "over-references")


def _shifts(report: PublicReport) -> tuple[Shift, ...]:
    return tuple(_shift(report, name, unit, points) for name, unit, points in plain.SHIFTS)


def _shift(report: PublicReport, name: str, unit: Unit, points: plain.Points) -> Shift:
    key = "shift-" + name.split()[0].lower() + "-" + name.split()[1].lower()
    values = tuple((word, _value(report, metric)) for word, metric in points)
    cells = tuple(words.digits(v) for _, v in values) + (() if len(values) == 3 else ("–",))
    floor = plain.fid_floor(report) if points == plain.FIDS else None
    return Shift(name, charts.slope(name, values, unit, key, floor=floor), cells, plain.missing(report, points))


def _value(report: PublicReport, metric: Metric) -> float | None:
    found = report.measured(metric)
    return None if found is None else found.value


def _demographics(report: PublicReport) -> tuple[Guess, ...]:
    """The rows of the table; empty where nothing demographic was asked of this run."""
    texts = {m.metric: m.text for m in report.measurements if m.status == "unmeasured"}
    rows = []
    for name, age, sex in _DEMOGRAPHICS:
        found = report.measured(age), report.measured(sex)
        missing = texts.get(age) or texts.get(sex) or "not computed in this run"
        rows.append(Guess(name, *found, missing))
    return tuple(rows)
