"""NPY and NPZ -> raw films."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_audit.cohort.formats import Format, sniff
from reid_audit.cohort.raw import RawFilm


def read_array(path: Path) -> NDArray[Any]:
    """Films of an NPY or NPZ file as [N, H, W] or [N, C, H, W] (a lone film is given N = 1); never unpickles.

    An NPY array of three dimensions is one film if the first is 1 or 3, otherwise a stack. Raises ValueError and what
    NumPy raises.
    """
    if sniff(path) is Format.NPZ:
        with np.load(path, allow_pickle=False) as archive:
            stack: NDArray[Any] = archive["images"]
    else:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
        if stack.ndim == 2 or (stack.ndim == 3 and stack.shape[0] in (1, 3)):
            stack = stack[None]
    if stack.ndim not in (3, 4) or (stack.ndim == 4 and stack.shape[1] not in (1, 3)) or 0 in stack.shape[1:]:
        raise ValueError(f"an array of shape {stack.shape} holds no films")
    if stack.dtype.kind not in "uif":
        raise ValueError(f"values of type {stack.dtype}")
    return stack


def read_arrays(path: Path) -> Iterator[RawFilm]:
    """The films of an NPY or NPZ file, in order. Floats outside [0, 1] mark every film as the network saw it."""
    stack = read_array(path)
    as_seen = beyond_unit(path, stack)
    for film in stack:
        yield _film(film, as_seen)


def beyond_unit(path: Path, stack: NDArray[Any] | None = None) -> bool:
    """Whether an NPY or NPZ file holds float values outside [0, 1]. Raises ValueError for NaN and infinity."""
    stack = read_array(path) if stack is None else stack
    if stack.dtype.kind != "f" or not stack.size:
        return False
    low, high = float(stack.min()), float(stack.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("values that are not finite")
    return low < 0.0 or high > 1.0


def _film(film: NDArray[Any], as_seen: bool) -> RawFilm:
    """[H, W] or [C, H, W] of any supported type."""
    pixels = film if film.ndim == 2 else film[0] if len(film) == 1 else film.transpose(1, 2, 0)
    if film.dtype == np.uint8:
        return RawFilm(np.ascontiguousarray(pixels), "8-bit", 8, 0.0, 255.0, source="array, 8 bits")
    if film.dtype.kind == "f":
        bits = 8 * film.dtype.itemsize
        values = np.ascontiguousarray(pixels, dtype=np.float32)
        return RawFilm(values, "float", bits, 0.0, 1.0, as_seen=as_seen, source="array, floating point")
    return RawFilm(np.ascontiguousarray(pixels), "integer", 16, 0.0, 65535.0, source="array, whole numbers")
