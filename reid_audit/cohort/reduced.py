"""Films of full size made small enough to be rendered hundreds of times."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reid_audit.cohort.raw import RawFilm

QUANTILES = 1001
"""Grey values of the full film that are kept: its extremes, and every tenth of a percent between them."""
SAMPLED = 2**18
"""Pixels that tell those between the extremes."""


def reduced(film: RawFilm, edge: int) -> RawFilm:
    """``film`` averaged over squares of n x n pixels, with the largest n that leaves ``edge`` of its shorter edge.

    What the full film alone can tell stays known: single pixels, as `nearest` takes them, and the grey values that a
    scaling by the film's own extremes or percentiles asks for. Below n = 2 it is the film itself.
    """
    size = min(film.pixels.shape[:2]) // edge
    if size < 2:
        return film
    return replace(
        film,
        pixels=_means(film.pixels, size),
        picked=np.ascontiguousarray(film.pixels[size // 2 :: size, size // 2 :: size]),
        quantiles=_quantiles(film.pixels),
    )


def _quantiles(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """The extremes of all pixels, and what lies between them of an even choice of ``SAMPLED``."""
    step = max(1, math.isqrt(pixels.shape[0] * pixels.shape[1] // SAMPLED))
    found = np.quantile(pixels[::step, ::step], np.linspace(0.0, 1.0, QUANTILES))
    found[0], found[-1] = pixels.min(), pixels.max()
    return np.asarray(found, dtype=np.float64)


def _means(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """[H, W, *] -> means of squares, of the same type; whole numbers are rounded."""
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).reduce(size))
    planes = [pixels] if pixels.ndim == 2 else [pixels[..., channel] for channel in range(3)]
    means = [np.asarray(Image.fromarray(plane.astype(np.float32)).reduce(size)) for plane in planes]
    whole = means[0] if pixels.ndim == 2 else np.stack(means, axis=-1)
    return (whole if np.issubdtype(pixels.dtype, np.floating) else np.rint(whole)).astype(pixels.dtype)
