"""Numbers as text, with as many digits as it takes to see on which side of a limit they lie."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from reid_audit.records import Unit

Limits = Sequence[float | None]
MOST_DIGITS = 17
"""Enough for every double."""
_SMALLEST_P = Decimal("0.0001")


def plain(value: float, beside: Limits = (), *, digits: int = 4) -> str:
    """``value`` with four significant digits, or with more where fewer would put it on the other side of a limit."""
    exact, limits = Decimal(repr(value)), _given(beside)
    written = (f"{value:.{n}g}" for n in range(digits, MOST_DIGITS + 1))
    return next((text for text in written if _same_side(Decimal(text), exact, limits)), repr(value))


def limit(value: float | None) -> str:
    """A threshold as it was set, no digit less; "none" where there is none."""
    if value is None:
        return "none"
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def number(value: float, unit: Unit, beside: Limits = ()) -> str:
    """``value`` in its unit as a reader expects it, told apart from the limits in ``beside``."""
    exact, limits = Decimal(repr(value)), _given(beside)
    if unit == "share":
        exact, limits = 100 * exact, tuple(100 * each for each in limits)
        return f"{_trimmed(exact, 0 if abs(exact) >= Decimal('9.95') else 1, limits)} %"
    if unit == "p":
        if 0 <= exact < _SMALLEST_P and all(each >= _SMALLEST_P for each in limits):
            return f"< {_SMALLEST_P}"
        return _trimmed(exact, 4, (*limits, Decimal(0))) if exact < Decimal("0.01") else _rounded(exact, 2, limits)
    if unit == "count":
        return _rounded(exact, 0 if exact == exact.to_integral_value() else 1, limits)
    if unit in ("years", "bits"):
        return f"{_rounded(exact, 1, limits)} years" if unit == "years" else f"{_rounded(exact, 2, limits)} bits"
    return _rounded(exact, 3 if abs(exact) < 10 else 1, limits)


def _given(beside: Limits) -> tuple[Decimal, ...]:
    return tuple(Decimal(repr(each)) for each in beside if each is not None)


def _rounded(exact: Decimal, places: int, limits: tuple[Decimal, ...]) -> str:
    """To ``places`` decimals, or to as many more as it takes."""
    for more in range(places, places + MOST_DIGITS):
        shown = exact.quantize(Decimal(1).scaleb(-more), rounding=ROUND_HALF_UP)
        if _same_side(shown, exact, limits):
            return f"{shown + 0:,f}"
    return f"{exact:,f}"


def _trimmed(exact: Decimal, places: int, limits: tuple[Decimal, ...]) -> str:
    text = _rounded(exact, places, limits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _same_side(shown: Decimal, exact: Decimal, limits: tuple[Decimal, ...]) -> bool:
    return all(shown.compare(each) == exact.compare(each) for each in limits)
