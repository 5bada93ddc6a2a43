"""Inline SVG made from the report's numbers.

Horizontal positions are percentages and text sizes are pixels, so a chart narrows on a phone while its words stay
readable. Colours come from the page's classes. Each chart carries a title and a description for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

from markupsafe import Markup

from reid_audit.records import Direction, Metric
from reid_audit.report.wire import GateRow, PublicAttackRun, PublicCurve, PublicHistogram, PublicMeasured
from reid_audit.report.words import ATTACK_RUNS, METRICS, STOPPED, Unit, duration, interval, number

Scale = Callable[[float], float]
"""A value to a horizontal percentage."""


def gate_plot(row: GateRow, key: str) -> Markup:
    """Value with interval, control and threshold of one gate on one line; empty without a value."""
    if row.value is None:
        return Markup("")
    unit = METRICS[row.metric].unit
    shift = row.control if row.basis == "excess" and row.control is not None else 0.0
    threshold = row.fail if row.fail is not None else row.clear
    bar = None if threshold is None else threshold + shift
    scale = _gate_scale(unit, [v for v in (row.value, row.low, row.high, row.control, bar) if v is not None])
    parts = [_line(0, 20, 100, 20, "axis")]
    if bar is not None:
        start, end = (scale(bar), 100.0) if row.direction is Direction.HIGHER else (0.0, scale(bar))
        parts += [_rect(start, 13, end - start, 14, "beyond"), _line(scale(bar), 10, scale(bar), 30, "threshold")]
    if row.control is not None:
        parts.append(_line(scale(row.control), 14, scale(row.control), 26, "control"))
    if row.low is not None and row.high is not None:
        parts.append(_line(scale(row.low), 20, scale(row.high), 20, "interval"))
    parts.append(_dot(scale(row.value), 20, 5, "value"))
    words = [f"value {number(row.value, unit, row.limits)}"]
    if row.low is not None or row.high is not None:
        words.append(f"interval {interval(row.low, row.high, unit, row.limits)}")
    if row.control is not None:
        words.append(f"control {number(row.control, unit)}")
    if bar is not None:
        words.append(f"threshold {number(bar, unit, (bar,) if shift == 0 else ())}")
    return _svg(key, 40, METRICS[row.metric].label, "; ".join(words), parts, "plot gate-plot")


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
    parts.append(_text(at, 12, f"this model {histogram.observed:.3g}", "mark", _anchor(at)))
    parts += [_text(scale(v), 134, f"{v:.3g}", "tick", _anchor(scale(v))) for v in _ticks(low, high)]
    beyond = sum(c for e, c in zip(histogram.edges[:-1], histogram.counts, strict=True) if e >= histogram.observed)
    desc = (
        f"{sum(histogram.counts):,} draws without a leak lie between {histogram.edges[0]:.3g} and "
        f"{histogram.edges[-1]:.3g}; this model has {histogram.observed:.3g}; {beyond:,} draws are higher."
    )
    return _svg(key, 140, f"{label}: chance and this model", desc, parts, "plot")


def null_spark(histogram: PublicHistogram, key: str) -> Markup:
    """The same without words, for a line of the gate table."""
    low, high = min(histogram.edges[0], histogram.observed), max(histogram.edges[-1], histogram.observed)
    scale, top = _linear(low, high, 3, 97), max(max(histogram.counts), 1)
    bins = zip(histogram.edges[:-1], histogram.edges[1:], histogram.counts, strict=True)
    parts = [
        _rect(scale(left), 30 - 26 * count / top, scale(right) - scale(left), 26 * count / top, "null")
        for left, right, count in bins
        if count
    ]
    at = scale(histogram.observed)
    parts += [_line(0, 30, 100, 30, "axis"), _line(at, 2, at, 30, "observed")]
    desc = (
        f"{null_name(histogram)}: chance lies around {_middle(histogram):.3g}, this model at {histogram.observed:.3g}."
    )
    return _svg(key, 34, f"{null_name(histogram)}: chance and this model", desc, parts, "plot gate-plot spark")


def _middle(histogram: PublicHistogram) -> float:
    """Middle of the fullest bin."""
    at = histogram.counts.index(max(histogram.counts))
    return (histogram.edges[at] + histogram.edges[at + 1]) / 2


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


def slope(name: str, points: tuple[tuple[str, float | None], ...], unit: Unit, key: str) -> Markup:
    """Three columns joined by lines: original, tuned, reference. A missing value leaves a gap."""
    known = [v for _, v in points if v is not None]
    if not known:
        return Markup("")
    low, high = min(known), max(known)
    room = (high - low) or max(abs(high), 1.0)

    def down(value: float) -> float:
        return 84 - 56 * (value - low) / room

    columns = [3 + 94 * i / max(len(points) - 1, 1) for i in range(len(points))]
    placed = [(x, v) for x, (_, v) in zip(columns, points, strict=True) if v is not None]
    parts = [_line(x, 14, x, 104, "grid") for x in columns]
    parts += _path(((x, down(v)) for x, v in placed), "curve")
    parts += [_dot(x, down(v), 4, "value") for x, v in placed]
    parts += [_beside(i, placed, down) for i in range(len(placed))]
    parts += [_text(x, 120, word, "tick", _anchor(x)) for x, (word, _) in zip(columns, points, strict=True)]
    desc = "; ".join(f"{word} {number(value, unit) if value is not None else 'not measured'}" for word, value in points)
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
    return _text(x, down(value) + (18 if below else -9), f"{value:.3g}", "mark", anchor)


def timeline(runs: tuple[PublicAttackRun, ...], ceiling: float | None, spent: float, key: str) -> Markup:
    """Each attack run after the other, against the whole budget."""
    whole = max(ceiling or 0.0, spent, sum(a.seconds for a in runs), 1e-9)
    parts, start, row, said = [], 0.0, 0.0, []
    for run in runs:
        parts.append(_text(0, row + 13, ATTACK_RUNS[run.name], "mark", "start"))
        parts.append(_text(100, row + 13, f"{duration(run.seconds)}, {STOPPED[run.stopped_by]}", "tick", "end"))
        parts.append(_line(0, row + 24, 100, row + 24, "grid"))
        width = max(100 * run.seconds / whole, 0.6)
        parts.append(_rect(100 * start / whole, row + 19, min(width, 100 - 100 * start / whole), 10, "null strong"))
        said.append(f"{ATTACK_RUNS[run.name]} {duration(run.seconds)}")
        start += run.seconds
        row += 40
    if ceiling:
        parts.insert(0, _line(100 * spent / whole, 0, 100 * spent / whole, row, "guide"))
    limit = f"of {duration(ceiling)} allowed" if ceiling else "no time limit set"
    parts.append(_text(0, row + 14, f"{duration(spent)} used, {limit}", "mark", "start"))
    return _svg(key, row + 22, "Time used by each part", "; ".join(said), parts, "plot")


def bracket(recovered: float | None, recognised: PublicMeasured | None, key: str) -> Markup:
    """Share of training patients: what this attack recovered, up to what the weights could give away."""
    parts = [_line(0, 52, 100, 52, "axis")]
    parts += [_line(x, 46, x, 58, "axis") for x in (0, 25, 50, 75, 100)]
    parts += [_text(x, 76, f"{x} %", "tick", _anchor(x)) for x in (0, 25, 50, 75, 100)]
    said, labels = [], []
    upper = None if recognised is None else recognised.high if recognised.high is not None else recognised.value
    if recovered is not None and upper is not None and upper > recovered:
        parts.append(_rect(100 * recovered, 44, 100 * (upper - recovered), 16, "span"))
    if recovered is not None:
        x = 100 * recovered
        parts.append(_line(x, 36, x, 62, "observed"))
        labels.append(_text(x, 30, "recovered", "mark", _anchor(x)))
        said.append(f"recovered by this attack {number(recovered, 'share')}")
    if recognised is not None and upper is not None:
        low = recognised.low if recognised.low is not None else recognised.value
        parts += [_line(100 * low, 52, 100 * upper, 52, "interval"), _dot(100 * recognised.value, 52, 5, "value")]
        x = 100 * upper
        labels.append(_text(x, 10, "could give away", "mark", _anchor(x)))
        parts.append(_line(x, 14, x, 62, "threshold"))
        said.append(f"recognised {number(recognised.value, 'share')}, interval {interval(low, upper, 'share')}")
    return _svg(
        key, 82, "Share of training patients, from recovered to recognised", "; ".join(said), parts + labels, "plot"
    )


def _gate_scale(unit: Unit, values: list[float]) -> Scale:
    if unit == "p":
        return lambda v: 3 + 94 * (math.log10(min(max(v, 1e-4), 1.0)) + 4) / 4
    low = min(0.0, *values)
    high = max(values) or 1.0
    return _linear(low, high * 1.15 if unit != "share" or high > 0.87 else high * 1.3, 3, 97)


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
