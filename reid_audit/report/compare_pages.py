"""A comparison of two reports as Markdown, HTML and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from reid_audit.records import CONTROLS, METRICS, Metric
from reid_audit.report import charts, words
from reid_audit.report.compare import Comparison, Figure, MetricChange
from reid_audit.report.json import dumps
from reid_audit.report.markdown import MARK, inert
from reid_audit.report.templating import page
from reid_audit.report.wording import status_word

SIGNIFICANCE = {
    "beyond_chance": "beyond chance",
    "within_chance": "within chance",
    "no_interval": "not tested: no interval",
    "unchanged": "unchanged",
    "does_not_count": "does not count in one of the two",
    "appeared": "only in the new one",
    "gone": "only in the old one",
}
TURN = {"better": "better", "worse": "worse", "same": "unchanged", "not_comparable": "not comparable"}
AT_ONCE = (
    "Each difference is held against its own 95 % interval: of twenty figures that did not move, one is called beyond "
    "chance on average."
)


Row = tuple[str, str, str]
Cell = tuple[str, str]
"""A number and its interval; empty where there is none."""


class Line(NamedTuple):
    """One figure of both reports, in words."""

    metric: Metric
    label: str
    old: Cell
    new: Cell
    change: Cell
    says: str
    plot: Markup


def render_markdown(found: Comparison) -> str:
    """GitHub-flavoured Markdown; what became of the verdict first."""
    blocks = [
        f"## {MARK[found.new.outcome]} {inert(headline(found))}",
        inert(summary(found)),
        _reports(found),
        *_table("Gates that changed", ("Gate", "Before", "Now"), gates(found)),
        *_table("Controls that changed", ("Control", "Before", "Now"), controls(found)),
        *_figures(found),
        *_table("Not like for like", ("What", "Before", "Now"), conditions(found)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def render_html(found: Comparison) -> str:
    """One offline page in the style of the report; no script, no outside request."""
    return page(
        "compare.html.j2",
        c=found,
        title=headline(found),
        summary=summary(found),
        outcome=words.OUTCOME_WORD,
        gates=gates(found),
        controls=controls(found),
        conditions=conditions(found),
        lines=lines(found),
        at_once=AT_ONCE,
    )


RENDERERS: dict[str, tuple[str, Callable[[Comparison], str]]] = {
    "markdown": ("compare.md", render_markdown),
    "html": ("compare.html", render_html),
    "json": ("compare.json", dumps),
}
"""Format -> (file, renderer)."""


def headline(found: Comparison) -> str:
    """What became of the verdict, in one line."""
    old, new = words.OUTCOME_WORD[found.old.outcome], words.OUTCOME_WORD[found.new.outcome]
    return f"{new}, as before" if old == new else f"{old} before, {new} now: {TURN[found.verdict]}"


def summary(found: Comparison) -> str:
    """What moved, in a few sentences."""
    said = ["The weights are the same." if found.old.checkpoint_sha256 == found.new.checkpoint_sha256 else ""]
    for text, metrics in (
        ("Breached now and not before", found.breaches_new),
        ("Breached before and no longer", found.breaches_gone),
        ("Waived now and not before", found.waived_new),
        ("Waived before and no longer", found.waived_gone),
    ):
        said.append(f"{text}: {'; '.join(METRICS[m].label for m in metrics)}." if metrics else "")
    moved = [m for m in found.metrics if m.significance == "beyond_chance"]
    riskier = [METRICS[m.metric].label for m in moved if m.riskier]
    safer = [METRICS[m.metric].label for m in moved if m.riskier is False]
    said.append(f"Riskier beyond chance: {'; '.join(riskier)}." if riskier else "")
    said.append(f"Less risky beyond chance: {'; '.join(safer)}." if safer else "")
    if not riskier and not safer:
        said.append("No figure of a leak moved beyond chance.")
    if found.conditions:
        said.append("The two audits differ in more than the weights: see what is not like for like.")
    return " ".join(filter(None, said))


def gates(found: Comparison) -> tuple[Row, ...]:
    """(gate, before, now) of gates with another status."""
    rows = []
    for one in found.gates:
        before = status_word(one.old, one.old_limit) if one.old else "no gate"
        rows.append((METRICS[one.metric].label, before, status_word(one.new, one.new_limit) if one.new else "no gate"))
    return tuple(rows)


def controls(found: Comparison) -> tuple[Row, ...]:
    """(control, before, now) of controls with another status."""
    rows = []
    for one in found.controls:
        before = words.CONTROL_WORD[one.old] if one.old else "not in the report"
        rows.append((CONTROLS[one.name].label, before, words.CONTROL_WORD[one.new] if one.new else "not in the report"))
    return tuple(rows)


def conditions(found: Comparison) -> tuple[Row, ...]:
    """(what, before, now) of conditions that differ."""
    return tuple((one.name, one.old, one.new) for one in found.conditions)


def lines(found: Comparison) -> tuple[Line, ...]:
    """Every figure, in words."""
    return tuple(line_of(change) for change in found.metrics)


def line_of(change: MetricChange) -> Line:
    """One figure, in words."""
    unit, label = METRICS[change.metric].unit, METRICS[change.metric].label
    says = SIGNIFICANCE[change.significance]
    if change.significance == "beyond_chance" and change.riskier is not None:
        says += ", riskier" if change.riskier else ", less risky"
    still = change.significance == "unchanged"
    plot = Markup("") if still else charts.change_plot(change.change, change.low, change.high, label, change.metric)
    return Line(change.metric, label, _shown(change.old, unit), _shown(change.new, unit), _moved(change), says, plot)


def _moved(change: MetricChange) -> Cell:
    """The difference with its interval; nothing for p-values, whose difference says nothing."""
    unit = METRICS[change.metric].unit
    if change.change is None or unit == "p":
        return "–", ""
    sign = "+" if change.change > 0 else ""
    return sign + words.number(change.change, unit, (0.0,)), words.interval(change.low, change.high, unit, (0.0,))


def _shown(figure: Figure | None, unit: words.Unit) -> Cell:
    return (
        ("–", "")
        if figure is None
        else (words.number(figure.value, unit), words.interval(figure.low, figure.high, unit))
    )


def _reports(found: Comparison) -> str:
    rows = [
        f"- {name}: `{report.architecture}`, checkpoint `{report.checkpoint_sha256[:16]}`, {report.started:%Y-%m-%d}, "
        f"exit code {report.exit_code}"
        for name, report in (("before", found.old), ("now", found.new))
    ]
    return "\n".join(rows)


def _figures(found: Comparison) -> tuple[str, ...]:
    """The figures that moved beyond chance as a table, all others folded below it."""
    moved = [line for line, m in zip(lines(found), found.metrics, strict=True) if m.significance == "beyond_chance"]
    rest = [line for line in lines(found) if line not in moved]
    head = ("Figure", "Before", "Now", "Change", "What it says")
    shown = _table("Figures that moved beyond chance", head, [_cells(line) for line in moved])
    others = "\n".join(table_rows(head, [_cells(line) for line in rest]))
    folded = f"<details>\n<summary>All other figures</summary>\n\n{others}\n\n</details>" if rest else ""
    return *shown, folded, AT_ONCE


def _cells(line: Line) -> tuple[str, ...]:
    numbers = (f"{value} ({spread})" if spread else value for value, spread in (line.old, line.new, line.change))
    return line.label, *numbers, line.says


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return (f"### {title}\n\n" + "\n".join(table_rows(head, rows)),) if rows else ()


def table_rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table, one line a row."""
    written = ["| " + " | ".join(inert(cell) for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *written]
