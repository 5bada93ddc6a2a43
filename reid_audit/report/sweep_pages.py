"""The summary of a sweep as one offline page, and in one line."""

from __future__ import annotations

from urllib.parse import quote

from reid_audit.records import METRICS, Metric
from reid_audit.report import words
from reid_audit.report.json import dumps
from reid_audit.report.sweep import FIGURES, SweepDocument, SweepFigure, SweepRow
from reid_audit.report.templating import page

HTML, JSON = "sweep.html", "sweep.json"
ABOUT_CODE = (
    "One audit without a verdict leaves the sweep without one (exit code 3), whatever the others found; then one FAIL "
    "fails it (1), missing evidence leaves it inconclusive (4), and it passes where every audit does (0)."
)


def headline(found: SweepDocument) -> str:
    """``12 audits: 1 not audited, 2 fail, 9 pass``, the worst first."""
    parts = [f"{count} {words.OUTCOME_WORD[outcome].lower()}" for outcome, count in found.counts.items()]
    return f"{len(found.rows)} audits: {', '.join(parts)}"


def render_html(found: SweepDocument) -> str:
    """One offline page in the style of the report, with a link to every report; no script, no outside request."""
    return page(
        "sweep.html.j2",
        d=found,
        title=headline(found),
        about=ABOUT_CODE,
        outcome=words.OUTCOME_WORD,
        heads=[METRICS[metric].label for metric in FIGURES],
        rows=[(row, link(row), figures(row), breached(row)) for row in found.rows],
    )


def link(row: SweepRow) -> str:
    """Address of the row's page from the summary on; empty where there is none."""
    return quote(f"{row.report}/report.html") if row.html else ""


def breached(row: SweepRow) -> str:
    """The breached gates by their labels."""
    return "; ".join(METRICS[metric].label for metric in row.breaches)


def figures(row: SweepRow) -> list[tuple[str, str, str]]:
    """(label, number, interval) of what the row shows; a dash where it was not measured."""
    by_metric = {one.metric: one for one in row.figures}
    return [_figure(metric, by_metric.get(metric)) for metric in FIGURES]


def _figure(metric: Metric, found: SweepFigure | None) -> tuple[str, str, str]:
    unit, label = METRICS[metric].unit, METRICS[metric].label
    if found is None:
        return label, "–", ""
    return label, words.number(found.value, unit), words.interval(found.low, found.high, unit)


RENDERERS = {HTML: render_html, JSON: dumps}
"""File -> renderer."""
