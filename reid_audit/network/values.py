"""Mean, deviation and inversion of the grey values in training, estimated from the first statistics layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from reid_audit.network.stem import Floats, Stem
from reid_audit.preprocess import KNOWN_VALUES
from reid_audit.records import PreprocessSpec

PER_CHANNEL_GAIN = 0.8
"""Values per channel are taken where they leave less than this share of the misfit of common ones."""
CONVENTION_GAIN = 0.5
"""A known convention is taken up to this share above the misfit of the free estimate (and ``noise`` more)."""
HARMLESS = 2e-5
"""Misfit of half a percent in the scale: nothing that membership would notice."""
LARGEST = 1e6
Inverts = tuple[bool, ...]
"""Whether films may have been inverted in training: the possibilities."""
EITHER: Inverts = (False, True)


@dataclass(frozen=True, slots=True, eq=False)
class FittedValues:
    """``mean``, ``std`` and ``invert`` as a specification, and how well they explain the layer."""

    spec: PreprocessSpec
    values: Floats
    """(a_1 .. a_C, b_1 .. b_C), with which grey values u of channel c become a_c u + b_c."""
    misfit: float
    """Mean square deviation of the first layer's statistics, in standard deviations."""


def fit_values(stem: Stem, *, invert: bool, noise: float = 0.0) -> FittedValues:
    """The values that explain the stem's statistics best, with or without inversion.

    Least squares with one mean and deviation for all channels, and with one for each channel. A known
    convention wins where it explains the statistics nearly as well: within ``noise``, the misfit that differences
    between two draws of images bring about by themselves.
    """
    best, misfit = _common(stem, invert=invert)
    if _channels(stem) > 1:
        apart, its_misfit = _descend(stem, best)
        if its_misfit < PER_CHANNEL_GAIN * misfit - noise:
            best, misfit = apart, its_misfit
    known = [(spec, scale_and_shift(spec, _channels(stem), invert=invert)) for spec in KNOWN_VALUES]
    spec, start = min(((s, v) for s, v in known if v is not None), key=lambda pair: stem.misfit(pair[1]))
    if stem.misfit(start) <= (1.0 + CONVENTION_GAIN) * misfit + max(noise, HARMLESS):
        return FittedValues(spec.model_copy(update={"invert": invert}), start, stem.misfit(start))
    return FittedValues(as_spec(best), best, misfit)


def scale_and_shift(spec: PreprocessSpec, channels: int, *, invert: bool | None = None) -> Floats | None:
    """(a_1 .. a_C, b_1 .. b_C) with network input a u + b; None where the specification has other channels."""
    if len(spec.mean) not in (1, channels) or len(spec.std) not in (1, channels):
        return None
    mean, std = (np.broadcast_to(np.asarray(part, dtype=np.float64), channels) for part in (spec.mean, spec.std))
    if spec.invert if invert is None else invert:
        return np.concatenate([-1.0 / std, (1.0 - mean) / std])
    return np.concatenate([1.0 / std, -mean / std])


def as_spec(values: Floats) -> PreprocessSpec:
    """The specification with these values (``scale_and_shift``), to four digits; equal channels are written once."""
    scale, shift = np.split(values, 2)
    invert = bool(scale[0] < 0)
    std = 1.0 / np.abs(scale)
    mean = (1.0 if invert else 0.0) - shift * std
    if np.ptp(scale) == 0 and np.ptp(shift) == 0:
        std, mean = std[:1], mean[:1]
    return PreprocessSpec(mean=_written(mean), std=_written(std), invert=invert)


def with_values(geometry: PreprocessSpec, values: PreprocessSpec) -> PreprocessSpec:
    """``geometry`` with mean, deviation and inversion of ``values``."""
    return geometry.model_copy(update={"mean": values.mean, "std": values.std, "invert": values.invert})


def _written(numbers: Floats) -> tuple[float, ...]:
    return tuple(float(f"{number:.4g}") for number in numbers)


def _channels(stem: Stem) -> int:
    return int(stem.linear.shape[1] - 1) // 2


def _common(stem: Stem, *, invert: bool) -> tuple[Floats, float]:
    """The best values that are the same in every channel.

    The start is nearly there: the scale from the variances, which the shift only reaches at padded borders, then the
    shift from the means.
    """
    count = _channels(stem)
    plain, ones, nothing = (stem.linear[:, part].sum(1) for part in (slice(count), slice(count, -1), slice(-1, None)))
    unit = np.concatenate([np.ones(count), np.zeros(count + 1)])
    variance = np.einsum("kde,d,e->k", stem.quadratic, unit, unit) - plain**2
    ratios = np.log((stem.variance + stem.eps) / np.maximum(variance, 1e-12))
    scale = float(np.exp(0.5 * np.median(ratios))) * (-1.0 if invert else 1.0)
    shift = float(ones @ (stem.mean - scale * plain - nothing) / max(float(ones @ ones), 1e-12))
    found = _solve(lambda pair: stem.deviations(np.repeat(pair, count)), np.array([scale, shift]))
    return np.repeat(found, count), stem.misfit(np.repeat(found, count))


def _descend(stem: Stem, start: Floats) -> tuple[Floats, float]:
    """The best values near ``start``, each channel for itself."""
    found = _solve(stem.deviations, start)
    return found, stem.misfit(found)


def _solve(deviations: Callable[[Floats], Floats], start: Floats) -> Floats:
    """Least squares in which every scale keeps its sign."""
    half = len(start) // 2
    positive = start[0] > 0
    low, high = np.full(len(start), -LARGEST), np.full(len(start), LARGEST)
    (low if positive else high)[:half] = 1e-6 if positive else -1e-6
    found = least_squares(deviations, start, bounds=(low, high), x_scale=np.maximum(np.abs(start), 0.1), max_nfev=100)
    return np.asarray(found.x, dtype=np.float64)
