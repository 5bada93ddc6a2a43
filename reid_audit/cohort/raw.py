"""One film as its file stores it: grey values before any preprocessing, with what the file says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
COLOURED = 0.04
"""Mean difference between the channels of a pixel, as a share of all values' range, from which on a film is in colour.
Grey films that were saved as colour JPEG have 0.01 and less."""


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window of DICOM (PS3.3 C.11.2.1.2): which values become 0 to 1."""

    center: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"

    def __call__(self, values: NDArray[Any]) -> Values:
        """[H, W] modality values -> [H, W] in [0, 1]."""
        x = np.asarray(values, dtype=np.float32)
        if self.function == "SIGMOID":
            steps = np.clip(-4.0 * (x - self.center) / self.width, -80.0, 80.0)
            return np.asarray(1.0 / (1.0 + np.exp(steps)), dtype=np.float32)
        center, width = self.center, self.width
        if self.function == "LINEAR":
            center, width = center - 0.5, max(width - 1.0, 1e-6)
        return np.asarray(((x - center) / width + 0.5).clip(0.0, 1.0), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """A VOI lookup table of DICOM (PS3.3 C.11.2.1.1)."""

    first: int
    """The modality value of the table's first entry; smaller values take it too."""
    table: Values
    """[entries] in [0, 1]."""

    def __call__(self, values: NDArray[Any]) -> Values:
        """[H, W] modality values -> [H, W] in [0, 1]."""
        places = np.asarray(values, dtype=np.float64).round().astype(np.int64) - self.first
        return np.asarray(self.table[places.clip(0, len(self.table) - 1)], dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class RawFilm:
    """One film before preprocessing. ``render`` makes network input of it, under as many specifications as wanted."""

    pixels: NDArray[Any]
    """[H, W] grey or [H, W, 3] colour, as stored; DICOM after the modality transformation (slope, intercept, table)."""
    kind: Literal["8-bit", "integer", "float"]
    """``8-bit``: uint8 over 0 to 255. ``integer``: other whole numbers. ``float``: numbers of a floating-point file."""
    bits: int
    """Bits stored for one value: 8, 10, 12, 16; the size of the number for ``float``."""
    low: float
    """The smallest value these bits can hold (0 for ``float``)."""
    high: float
    """The largest value these bits can hold (1 for ``float``)."""
    inverted: bool = False
    """True where large values mean black (MONOCHROME1, presentation LUT shape INVERSE)."""
    window: Window | Lookup | None = None
    """How the file wants its values shown; None where it does not say."""
    as_seen: bool = False
    """True for arrays of floats outside [0, 1]: stored exactly as the network saw them, after mean and std."""
    turned: bool = False
    """True where an EXIF orientation was applied."""
    reoriented: bool = False
    """True where the file's affine says how its pixels lie, and they were turned by it."""
    source: str = ""
    """The file's format in a few words. Nothing about a patient, no name of a file."""
    picked: NDArray[Any] | None = None
    """Single pixels of the full film where ``pixels`` are means of squares of it (reduced.py)."""
    quantiles: NDArray[np.float64] | None = None
    """Grey values of the full film at equal steps from its smallest to its largest, where ``pixels`` are means."""

    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest grey value of the full film."""
        values = self.pixels if self.quantiles is None else self.quantiles
        return float(values.min()), float(values.max())

    def in_colour(self) -> bool:
        """Whether it shows colours: its channels differ by more than compression makes grey ones differ."""
        if self.pixels.ndim == 2:
            return False
        few = self.pixels[:: max(1, self.pixels.shape[0] // 64), :: max(1, self.pixels.shape[1] // 64)]
        spread = np.ptp(few.astype(np.float64), axis=2).mean()
        return bool(spread > COLOURED * max(float(np.ptp(few)), 1e-12))

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] != 3):
            raise ValueError(f"pixel data of shape {shape}: grey [H, W] or colour [H, W, 3] is read")
        if self.kind == "float" and not np.isfinite(self.pixels).all():
            raise ValueError("values that are not finite")
