"""Inline SVG made from the report's numbers.

Horizontal positions are percentages and text sizes are pixels, so a chart narrows on a phone while its words stay
readable. Colours come from the page's classes. Each chart carries a title and a description for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from markupsafe import Markup

from reid_audit.records import Direction, Metric
from reid_audit.report.wire import GateRow, PublicAttackRun, PublicCurve, PublicHistogram, PublicMeasured
from reid_audit.report.wording import decision, limit_of
from reid_audit.report.words import ATTACK_RUNS, METRICS, STOPPED, Unit, digits, duration, interval, number

Scale = Callable[[float], float]
"""A value to a horizontal percentage."""
_VISIBLE = 2.0
"""Least distance, in percent of the width, between a number and the limit that it lies on one side of."""


def decision_plot(row: GateRow, key: str) -> Markup:
    """One gate on the scale on which the judge compared: an excess stands over its control, at zero.

    The field is what lies beyond the limit that decided, and the mark is the number that was held against it; a mark in
    the field is a breach or an open gate, a mark outside is neither. Empty where nothing was compared.
    """
    limit = limit_of(row)
    if row.value is None or row.compared is None or limit is None:
        return Markup("")
    unit = METRICS[row.metric].unit
    zero = row.control if row.basis == "excess" and row.control is not None else None
    value, low, high = (None if v is None else v - (zero or 0.0) for v in (row.value, row.low, row.high))
    control = row.control if zero is None else 0.0
    known = [v for v in (value, low, high, control, row.compared, limit) if v is not None]
    scale = _decision_scale("score" if zero is not None else unit, known)
    lower, edge = row.direction is Direction.LOWER, scale(limit)
    start, end = (0.0, edge) if lower else (edge, 100.0)
    kind = "held" if row.status == "clear" and row.limit == "fail" else row.status
    at = _apart(scale(row.compared), edge, over=row.beyond is not lower)
    parts = [_rect(start, 13, end - start, 14, f"beyond {row.limit}"), _line(0, 20, 100, 20, "axis")]
    parts.append(_line(edge, 9, edge, 31, f"threshold {row.limit}"))
    if control is not None:
        parts.append(_line(scale(control), 14, scale(control), 26, "control"))
    if low is not None and high is not None:
        parts.append(_line(scale(low), 20, scale(high), 20, "interval"))
    parts.append(_dot(scale(value if value is not None else row.compared), 20, 4, "value"))
    parts.append(_line(at, 11, at, 29, f"decides {kind}"))
    return _svg(key, 40, METRICS[row.metric].label, decision(row), parts, "plot gate-plot")


def change_plot(change: float | None, low: float | None, high: float | None, label: str, key: str) -> Markup:
    """A difference with its interval on a line through zero; empty without an interval."""
    if change is None or low is None or high is None:
        return Markup("")
    reach = max(abs(low), abs(high)) or 1.0
    scale = _linear(-reach, reach, 6, 94)
    parts = [_line(0, 20, 100, 20, "axis"), _line(50, 10, 50, 30, "control")]
    parts += [_line(scale(low), 20, scale(high), 20, "interval"), _dot(scale(change), 20, 5, "value")]
    return _svg(
        f"change-{key}",
        40,
        label,
        f"difference {digits(change)}, {digits(low)} to {digits(high)}",
        parts,
        "plot gate-plot",
    )


def _apart(at: float, edge: float, *, over: bool) -> float:
    """``at`` kept visibly on its side of ``edge``."""
    return max(at, edge + _VISIBLE) if over else min(at, edge - _VISIBLE)


def null_histogram(histogram: PublicHistogram, key: str) -> Markup:
    """What the statistic does when nothing has leaked, and where this model fell."""
    label = null_name(histogram)
    low = min(histogram.edges[0], histogram.observed)
    high = max(histogram.edges[-1], histogram.observed)
    scale = _linear(low, high, 3, 97)
    top = max(max(histogram.counts), 1)
    base, tall = 118.0, 84.0
    parts = []
    for left, right, count in zip(histogram.edges[:-1], histogram.edges[1:], histogram.counts, strict=True):
        if count:
            height = max(tall * count / top, 0.6)
            parts.append(_rect(scale(left), base - height, scale(right) - scale(left), height, "null"))
    at = scale(histogram.observed)
    parts += [_line(0, base, 100, base, "axis"), _line(at, 22, at, base, "observed"), _dot(at, 22, 4, "value")]
    parts.append(_text(at, 12, f"this model {digits(histogram.observed)}", "mark", _anchor(at)))
    parts += [_text(scale(v), 134, digits(v), "tick", _anchor(scale(v))) for v in _ticks(low, high)]
    beyond = sum(c for e, c in zip(histogram.edges[:-1], histogram.counts, strict=True) if e >= histogram.observed)
    desc = (
        f"{sum(histogram.counts):,} draws without a leak lie between {digits(histogram.edges[0])} and "
        f"{digits(histogram.edges[-1])}; this model has {digits(histogram.observed)}; {beyond:,} draws are higher."
    )
    return _svg(key, 140, f"{label}: chance and this model", desc, parts, "plot")


def null_name(histogram: PublicHistogram) -> str:
    """What the horizontal axis of a null distribution counts: the statistic behind a p-value, else the metric."""
    metric = Metric.LINKAGE_AUC if histogram.metric is Metric.LINKAGE_P else histogram.metric
    return METRICS[metric].label


def roc(curve: PublicCurve, rate: PublicMeasured | None, key: str) -> Markup:
    """Share of training patients found against false alarms, from 0.1 % on a logarithmic axis; the bound at 1 %."""
    base, tall = 190.0, 165.0

    def across(x: float) -> float:
        return 4 + 92 * (math.log10(max(x, 0.001)) + 3) / 3

    def down(y: float) -> float:
        return base - tall * min(max(y, 0.0), 1.0)

    shown = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if x >= 0.001]
    chance = [(x, x) for x in curve.x if x >= 0.001]
    parts = [_line(4, down(y), 96, down(y), "grid") for y in (0.0, 0.5, 1.0)]
    parts += [_text(4.8, down(y) - 4, f"{y:.0%}".replace("%", " %"), "tick", "start") for y in (0.5, 1.0)]
    parts.append(_line(across(0.01), down(1), across(0.01), base, "guide"))
    parts += _path(((across(x), down(y)) for x, y in chance), "chance")
    parts += _path(((across(x), down(y)) for x, y in shown), "curve")
    for value, word in ((0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")):
        parts.append(_text(across(value), base + 16, word, "tick", _anchor(across(value))))
    desc = "At 1 % false alarms: " + number(next((y for x, y in shown if x >= 0.01), 0.0), "share") + "."
    if rate is not None:
        low, high = rate.low if rate.low is not None else rate.value, rate.high if rate.high is not None else rate.value
        parts += [_line(across(0.01), down(low), across(0.01), down(high), "interval")]
        parts += [_dot(across(0.01), down(rate.value), 5, "value")]
        desc = f"At 1 % false alarms: {number(rate.value, 'share')}, interval {interval(low, high, 'share')}."
    return _svg(key, 212, "Share of training patients found, by false-alarm rate", desc, parts, "plot")


def slope(
    name: str, points: tuple[tuple[str, float | None], ...], unit: Unit, key: str, *, floor: float | None = None
) -> Markup:
    """Columns joined by lines: original, tuned, reference. A missing value leaves a gap.

    floor: what the figure is between two sets of one kind, a dashed line with a name; below it nothing can be told.
    """
    known = [v for v in (*(v for _, v in points), floor) if v is not None]
    if all(v is None for _, v in points):
        return Markup("")
    low, high = min(known), max(known)
    room = (high - low) or max(abs(high), 1.0)

    def down(value: float) -> float:
        return 84 - 56 * (value - low) / room

    columns = [3 + 94 * i / max(len(points) - 1, 1) for i in range(len(points))]
    placed = [(x, v) for x, (_, v) in zip(columns, points, strict=True) if v is not None]
    parts = [_line(x, 14, x, 104, "grid") for x in columns]
    desc = "; ".join(f"{word} {number(value, unit) if value is not None else 'not measured'}" for word, value in points)
    if floor is not None:
        parts.append(_line(3, down(floor), 97, down(floor), "guide"))
        at = down(floor) + (-6 if floor == high else 15)
        parts.append(_text(50, at, f"two sets of one kind: {digits(floor)}", "tick", "middle"))
        desc += f"; two sets of one kind {number(floor, unit)}"
    parts += _path(((x, down(v)) for x, v in placed), "curve")
    parts += [_dot(x, down(v), 4, "value") for x, v in placed]
    parts += [_beside(i, placed, down) for i in range(len(placed))]
    parts += [_text(x, 120, word, "tick", _anchor(x)) for x, (word, _) in zip(columns, points, strict=True)]
    return _svg(key, 126, name, desc, parts, "plot")


def _beside(index: int, placed: list[tuple[float, float]], down: Scale) -> Markup:
    """The number of one point of a slope, on the side its lines leave free."""
    x, value = placed[index]
    before = placed[index - 1][1] if index else None
    after = placed[index + 1][1] if index + 1 < len(placed) else None
    below = (before is None and after is not None and after > value) or (
        after is None and before is not None and before > value
    )
    anchor = _anchor(x)
    if before is not None and after is not None:
        rising, falling = before < value < after, before > value > after
        anchor = "end" if rising else "start" if falling else "middle"
    return _text(x, down(value) + (18 if below else -9), digits(value), "mark", anchor)


def time_used(runs: tuple[PublicAttackRun, ...], ceiling: float | None, spent: float, key: str) -> Markup:
    """All of the time, part by part: each attack run, and everything else the audit did."""
    named = [(ATTACK_RUNS[run.name], run.seconds, STOPPED[run.stopped_by]) for run in runs]
    rest = spent - sum(run.seconds for run in runs)
    if rest > 0.005 * spent:
        named.append(("Everything else: films, statistics, reports", rest, ""))
    whole, parts, said = max(spent, sum(seconds for _, seconds, _ in named), 1e-9), [], []
    for index, (name, seconds, ended) in enumerate(named):
        row = 52.0 * index
        parts.append(_text(0, row + 13, name, "mark", "start"))
        parts.append(_text(0, row + 29, ", ".join(filter(None, (duration(seconds), ended))), "tick", "start"))
        parts.append(_line(0, row + 40, 100, row + 40, "grid"))
        parts.append(_rect(0, row + 35, min(max(100 * seconds / whole, 0.4), 100), 10, "null strong"))
        said.append(f"{name} {duration(seconds)}")
    limit = f"of {duration(ceiling)} allowed" if ceiling else "no time limit set"
    parts.append(_text(0, 52 * len(named) + 14, f"All together {duration(spent)}, {limit}", "mark", "start"))
    return _svg(key, 52 * len(named) + 22, "Time used by each part", "; ".join(said), parts, "plot")


def bracket(recovered: float | None, recognised: PublicMeasured | None, key: str) -> Markup:
    """Shares of training patients, a line for each question: what this attack re-identified, whom the weights name."""
    parts, said, row = list[Markup](), list[str](), 0.0
    if recovered is not None:
        share = number(recovered, "share")
        parts.append(_text(0, row + 13, f"re-identified by this attack: {share}", "mark", "start"))
        parts += [_line(0, row + 26, 100, row + 26, "grid"), _rect(0, row + 20, 100 * recovered, 12, "span")]
        parts.append(_line(100 * recovered, row + 17, 100 * recovered, row + 35, "observed"))
        said.append(f"re-identified by this attack {share}")
        row += 46
    if recognised is not None:
        low = recognised.low if recognised.low is not None else recognised.value
        high = recognised.high if recognised.high is not None else recognised.value
        share, spread = number(recognised.value, "share", (recognised.threshold,)), interval(low, high, "share")
        parts.append(_text(0, row + 13, f"could be recognised: {share}", "mark", "start"))
        parts += [_line(0, row + 26, 100, row + 26, "grid"), _rect(0, row + 20, 100 * recognised.value, 12, "span")]
        parts += [_line(100 * low, row + 26, 100 * high, row + 26, "interval")]
        parts += [_dot(100 * recognised.value, row + 26, 5, "value")]
        said.append(f"recognised {share}, interval {spread}")
        row += 46
    parts += [_line(x, row - 2, x, row + 4, "axis") for x in (0, 25, 50, 75, 100)]
    parts += [_line(0, row, 100, row, "axis")]
    parts += [_text(x, row + 18, f"{x} %", "tick", _anchor(x)) for x in (0, 25, 50, 75, 100)]
    title = "Share of training patients, from recovered to recognised"
    return _svg(key, row + 26, title, "; ".join(said), parts, "plot")


def over_references(counts: Sequence[int | None], alike: Sequence[float], key: str) -> Markup:
    """Patients in each fifth of the share of pairs of references that recognise them, and the line at which they would
    be, were all recognised as easily. A fifth that is not shown has no bar."""
    base, tall, width = 130.0, 92.0, 100.0 / len(counts)
    top = max(1.0, *(count or 0 for count in counts), *alike)
    parts, said = [_line(0, base, 100, base, "axis")], list[str]()
    for place, (count, usual) in enumerate(zip(counts, alike, strict=True)):
        left, first, last = width * place, 100 * place // len(counts), 100 * (place + 1) // len(counts)
        height = tall * (count or 0) / top
        shown = "hidden" if count is None else f"{count:,}"
        parts.append(_rect(left + 2, base - height, width - 4, height, "null"))
        level = base - tall * usual / top
        parts.append(_line(left + 1, level, left + width - 1, level, "observed"))
        parts.append(_text(left + width / 2, base - max(height, base - level) - 6, shown, "mark", "middle"))
        parts.append(_text(left + width / 2, base + 18, f"{first}\u2013{last}", "tick", "middle"))
        patients = "not shown" if count is None else f"{shown} patients"
        said.append(f"{first} to {last} % of the pairs: {patients}, {usual:,.0f} were all alike")
    return _svg(
        key, base + 26, "Patients by the share of references (%) that tell them", "; ".join(said), parts, "plot"
    )


def _decision_scale(unit: Unit, values: list[float]) -> Scale:
    """Values to the middle of the picture, so that either side of every limit is visible."""
    if unit == "p":
        return lambda v: 6 + 88 * (math.log10(min(max(v, 1e-4), 1.0)) + 4) / 4
    return _linear(min(0.0, *values), max(0.0, *values), 6, 94)


def _linear(low: float, high: float, left: float, right: float) -> Scale:
    span = (high - low) or 1.0
    return lambda v: left + (right - left) * (v - low) / span


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Up to five round numbers between ``low`` and ``high``."""
    raw = (high - low) / 4 or 1.0
    size = 10.0 ** math.floor(math.log10(raw))
    step = next((size * m for m in (1, 2, 5) if size * m >= raw), size * 10)
    first = math.ceil(low / step - 1e-9)
    return tuple(round(step * k, 10) for k in range(first, math.floor(high / step + 1e-9) + 1))


def _anchor(x: float) -> str:
    return "start" if x < 14 else "end" if x > 86 else "middle"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{}%" y1="{}" x2="{}%" y2="{}" class="{}"/>').format(_r(x1), _r(y1), _r(x2), _r(y2), kind)


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return Markup('<rect x="{}%" y="{}" width="{}%" height="{}" class="{}"/>').format(
        _r(x), _r(y), _r(max(width, 0.0)), _r(height), kind
    )


def _dot(x: float, y: float, radius: float, kind: str) -> Markup:
    return Markup('<circle cx="{}%" cy="{}" r="{}" class="{}"/>').format(_r(x), _r(y), _r(radius), kind)


def _text(x: float, y: float, words: str, kind: str, anchor: str) -> Markup:
    return Markup('<text x="{}%" y="{}" class="{} {}">{}</text>').format(_r(x), _r(y), kind, anchor, words)


def _path(points: Iterable[tuple[float, float]], kind: str) -> list[Markup]:
    listed = list(points)
    return [_line(a[0], a[1], b[0], b[1], kind) for a, b in pairwise(listed)]


def _r(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _svg(key: str, height: float, title: str, desc: str, parts: list[Markup], kind: str) -> Markup:
    head = Markup('<svg class="{}" height="{}" role="img" aria-labelledby="{}-t {}-d">').format(
        kind, _r(height), key, key
    )
    words = Markup('<title id="{}-t">{}</title><desc id="{}-d">{}</desc>').format(key, title, key, desc)
    return head + words + Markup("").join(parts) + Markup("</svg>")
