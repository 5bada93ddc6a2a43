"""One picture of what networks give away beside how well they answer, as an SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from textwrap import wrap

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 60, 150, 20, 50
LETTER, LINE = 6.8, 14
"""Width of a letter and height of a line, in pixels."""
DOWN = (0, 10, -10, 18, -18, 26, -26)
"""How far below its mark a label may lie."""
Scale = Callable[[float], float]
TONES = ("#1f4e79", "#9c1c1c", "#17603a", "#7a4a00")


@dataclass(frozen=True, slots=True)
class Point:
    """One network."""

    label: str
    group: str
    """Networks of a group share a colour."""
    utility: float
    """Accuracy on hold-out films, 0 to 1."""
    risk: float
    """Membership AUC, 0.5 (guessing) to 1."""
    linked: bool
    """Whether reconstructions were linked to training patients: a filled mark."""


def pareto(points: list[Point]) -> str:
    """An SVG: accuracy to the right, membership AUC upwards; the lower right corner is where one wants to be."""
    groups = sorted({point.group for point in points})
    low = min((point.utility for point in points), default=0.5)
    low, high = int(low * 20 - 1) / 20, max([0.9, *(point.utility for point in points)])

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - 0.45) / 0.55

    lines = [*_axes(across, up, low, high)]
    places = [(across(point.utility), up(point.risk), point) for point in points]
    for x, y, point in places:
        tone = TONES[groups.index(point.group) % len(TONES)]
        fill = tone if point.linked else "none"
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{tone}" stroke-width="2"/>')
    for label in _labels(places):
        tone = TONES[groups.index(label.group) % len(TONES)]
        anchor = "start" if label.right else "end"
        for number, part in enumerate(label.lines):
            y = label.y + 4 + LINE * number
            lines.append(
                f'<text x="{label.x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{tone}">{escape(part)}</text>'
            )
    for number, group in enumerate(groups):
        y = TOP + 14 + 18 * number
        lines.append(
            f'<text x="{WIDTH - RIGHT + 12}" y="{y}" fill="{TONES[number % len(TONES)]}">{escape(group)}</text>'
        )
    body = "\n".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img"><title>Membership AUC and accuracy</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fdfdfb"/>\n{body}\n</svg>\n'
    )


@dataclass(frozen=True, slots=True)
class Label:
    """Lines of text beside a mark."""

    x: float
    y: float
    right: bool
    """Whether it begins at x; else it ends there."""
    lines: tuple[str, ...]
    group: str

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        width = LETTER * max(map(len, self.lines))
        left = self.x if self.right else self.x - width
        return left, self.y - LINE / 2, left + width, self.y + LINE * (len(self.lines) - 0.5)


def _labels(places: list[tuple[float, float, Point]]) -> list[Label]:
    """One for points on one spot, and where there is room none over another, or over a mark."""
    spots: list[tuple[float, float, str, str]] = []
    for x, y, point in sorted(places, key=lambda place: (place[2].group, place[0])):
        last = spots[-1] if spots else None
        if last is not None and last[3] == point.group and abs(last[0] - x) < 8 and abs(last[1] - y) < 8:
            spots[-1] = (x, last[1], f"{last[2]}, {point.label}", point.group)
        else:
            spots.append((x, y, point.label, point.group))
    marks = [(x - 6, y - 6, x + 6, y + 6) for x, y, _ in places]
    placed: list[Label] = []
    for x, y, text, group in sorted(spots, key=lambda spot: spot[1]):
        ways = [_label(x, y + down, text, group, right) for down in DOWN for right in (True, False)]
        taken = [*marks, *(label.box for label in placed)]
        placed.append(next((way for way in ways if not any(_meet(way.box, box) for box in taken)), ways[0]))
    return placed


def _label(x: float, y: float, text: str, group: str, right: bool) -> Label:
    room = WIDTH - x - 8 if right else x - LEFT - 8
    lines = tuple(wrap(text, max(12, int(room / LETTER))))
    return Label(x + 8 if right else x - 8, y, right, lines, group)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _axes(across: Scale, up: Scale, low: float, high: float) -> list[str]:
    lines = []
    for tick in range(round(low * 20), int(high * 20) + 1):
        x = across(tick / 20)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#d5d8dc"/>')
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick / 20:.2f}</text>')
    for tick in range(5, 11):
        y = up(tick / 10)
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d5d8dc"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick / 10:.1f}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">accuracy on hold-out films</text>')
    lines.append(f'<text x="14" y="{HEIGHT / 2:.0f}" transform="rotate(-90 14 {HEIGHT / 2:.0f})" text-anchor="middle">')
    return [*lines, "membership AUC (filled: reconstructions are linked to patients)</text>"]
