"""Exponentials, sines and powers with the same bits on every processor.

numpy's own differ in the last bit with the processor's vector unit and the C library. These are built from additions,
multiplications, divisions and shifts of float32, each its own pass over the array, which IEEE 754 rounds in one way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""float32 (numpy's stubs widen mixed arithmetic, so the element type is not declared)."""

_TURN = 2 * math.pi
_LN2 = 0.6931471805599453
_LN2_HIGH = 355 / 512
"""ln 2 in nine bits: its product with a whole exponent is exact."""
_EXP = [1 / math.factorial(k) for k in range(8)]
_SINE = list(accumulate(range(1, 7), lambda term, k: -term * _TURN * _TURN / (2 * k * (2 * k + 1)), initial=_TURN))
_LOG = [2 / (2 * k + 1) for k in range(6)]
_MANTISSA, _BIAS = 23, 127


def exp(x: Values) -> Values:
    """e^x to about 1e-7 of its value; below e^-87 it stays there."""
    x = np.maximum(x, np.float32(-87))
    halvings = np.rint(x * np.float32(1 / _LN2))
    rest = (x - halvings * np.float32(_LN2_HIGH)) - halvings * np.float32(_LN2 - _LN2_HIGH)
    scale: Values = ((halvings.astype(np.int32) + _BIAS) << _MANTISSA).view(np.float32)
    return _polynomial(rest, _EXP) * scale


def cos_turns(turns: Values) -> Values:
    """cos(2 pi turns) to about 3e-7."""
    folded = np.abs(turns - np.rint(turns))
    quarter: Values = np.float32(0.25) - folded
    cosine: Values = quarter * _polynomial(quarter * quarter, _SINE)
    return cosine


def sin(x: Values) -> Values:
    """sin(x), x in radians, to about 1e-6 within a few turns."""
    return cos_turns(x * np.float32(1 / _TURN) - np.float32(0.25))


def cos(x: Values) -> Values:
    """cos(x), x in radians, to about 1e-6 within a few turns."""
    return cos_turns(x * np.float32(1 / _TURN))


def power(x: Values, exponent: float | Values) -> Values:
    """x^exponent for x >= 0 and exponents above 0, to about 1e-6 of its value for values between 1e-6 and 1e6."""
    # x = mantissa * 2^whole with the mantissa between sqrt(1/2) and sqrt(2).
    shifted = np.maximum(x, np.float32(1e-37)).astype(np.float32).view(np.int32) - _bits(math.sqrt(0.5))
    whole = shifted >> _MANTISSA
    mantissa = (shifted - (whole << _MANTISSA) + _bits(math.sqrt(0.5))).view(np.float32)
    slope = (mantissa - 1) / (mantissa + 1)
    log = slope * _polynomial(slope * slope, _LOG) + whole.astype(np.float32) * np.float32(_LN2)
    return np.where(x > 0, exp(log * np.asarray(exponent, np.float32)), np.float32(0))


def bell(distance: Values, width: float) -> Values:
    """e^-(distance / width)^2: 1 at zero."""
    ratio = distance / np.float32(width)
    return exp(-(ratio * ratio))


def _polynomial(x: Values, coefficients: Sequence[float]) -> Values:
    """Horner's rule, lowest coefficient first."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total *= x
        total += np.float32(coefficient)
    return total


def _bits(value: float) -> np.int32:
    return np.float32(value).view(np.int32)
