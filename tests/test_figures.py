"""Numbers beside limits: rounding never moves one across, in any unit, and thresholds keep every digit."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_audit.figures import limit, number, plain
from reid_audit.records import Unit

UNITS = get_args(Unit)
LIMITS = (0.0, 0.00005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
SCALE = {"share": 100}


def read(text: str) -> Decimal:
    return Decimal(text.split()[0].replace(",", ""))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("bar", LIMITS)
def test_the_closest_neighbours_of_a_limit_are_said_from_it(unit: Unit, bar: float) -> None:
    at = read(number(bar, unit, (bar,)))
    below, above = (number(math.nextafter(bar, way), unit, (bar,)) for way in (-math.inf, math.inf))
    assert read(below) < at < read(above) or below == "< 0.0001"
    assert (
        float(plain(math.nextafter(bar, -math.inf), (bar,))) < bar < float(plain(math.nextafter(bar, math.inf), (bar,)))
    )


@given(value=st.floats(-1.0, 1.0), bar=st.floats(-1.0, 1.0), unit=st.sampled_from(UNITS))
def test_rounding_never_crosses_a_limit(value: float, bar: float, unit: Unit) -> None:
    shown = number(value, unit, (bar, None))
    if shown.startswith("<"):
        assert 0 <= value < 0.0001 <= bar
    else:
        exact, limited = (SCALE.get(unit, 1) * Decimal(repr(each)) for each in (value, bar))
        assert (read(shown) > limited, read(shown) < limited) == (exact > limited, exact < limited)
    assert (float(plain(value, (bar,))) > bar) == (value > bar)
    assert (float(plain(value, (bar,))) < bar) == (value < bar)


@pytest.mark.parametrize(
    ("value", "unit", "beside", "text"),
    [
        (0.10004, "share", (0.1,), "10.004 %"),
        (0.10004, "share", (0.05,), "10 %"),
        (0.1, "share", (0.1,), "10 %"),
        (0.0496, "p", (0.05,), "0.0496"),
        (0.00003, "p", (0.00005,), "0.00003"),
        (0.00003, "p", (0.01,), "< 0.0001"),
        (0.0, "p", (), "< 0.0001"),
        (-0.0000004, "share", (0,), "-0.00004 %"),
        (-0.0000004, "score", (), "0.000"),
        (1234.0, "count", (), "1,234"),
        (0.545, "share", (), "55 %"),
    ],
)
def test_digits(value: float, unit: Unit, beside: tuple[float, ...], text: str) -> None:
    assert number(value, unit, beside) == text


def test_thresholds_keep_every_digit() -> None:
    assert [limit(value) for value in (0.05, 0.0500001, 1e-7, 5.0, 0.123456789, None)] == [
        "0.05",
        "0.0500001",
        "1e-07",
        "5",
        "0.123456789",
        "none",
    ]


def test_a_number_far_from_every_limit_is_short() -> None:
    assert plain(0.123456, (0.5,)) == "0.1235"
    assert plain(0.123456, (0.5,), digits=3) == "0.123"
