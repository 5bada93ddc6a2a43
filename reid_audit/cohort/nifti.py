"""NIfTI-1 and NIfTI-2, packed or not -> raw films: a picture is one, of a volume every slice is.

Slices are cut and turned by the file's affine into directions that three letters name, as axis codes of nibabel do:
where rows, columns and slices go. ``PLS`` are axial slices as DICOM viewers show them: rows towards the back (P),
columns towards the patient's left (L), slices towards the head (S). nibabel reads the header; how much is read after it
is decided here, so that no header makes the program take more memory or time than a volume is worth.
"""

from __future__ import annotations

import gzip
import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from reid_audit.cohort.formats import GZIP, nifti_version
from reid_audit.cohort.raw import RawFilm, Window
from reid_audit.errors import CohortError

STORED = "STORED"
"""The array as it is: rows along its first axis, columns along its second, slices along its third."""
LARGEST = 4 * 1024**3
"""Bytes of a volume from which on it is refused: a CT of 1,000 slices in floating point has one quarter of it."""
_LENGTHS = {1: 348, 2: 540}
_SHOWN = {0: "IPL", 1: "ILP", 2: "PLS"}
"""Axis that the slices follow, from left to right, back to front or feet to head -> how viewers show them."""
_PAIRS = ("LR", "PA", "IS")


def read_axes(text: str, where: str) -> str:
    """Axes as a table's cell asks for them: three letters, ``STORED``, or "" for those of a viewer.

    Raises CohortError, which names ``where``.
    """
    axes = text.strip().upper()
    pairs = {pair for letter in axes for pair in _PAIRS if letter in pair}
    if axes in ("", STORED) or (len(axes) == 3 and len(pairs) == 3):
        return axes
    raise CohortError(
        f"{where} names the axes {text}",
        closest="PLS (axial), ILP (coronal), IPL (sagittal): where rows, columns and slices go, L or R, P or A, I or S",
        remedy="correct the cell, leave it empty for axial slices, or write stored for the array as it is",
    )


def read_nifti(path: Path, axes: str = "") -> Iterator[RawFilm]:
    """The slices of a file in order.

    Raises CohortError without nibabel, ValueError and OSError for what cannot be read.
    """
    header = _Header.of(path)
    if not _packed(path) and path.stat().st_size < header.end:
        raise ValueError(f"the file ends before its values do, {header.end} bytes were promised")
    with _opened(path) as stream:
        stored = header.own.raw_data_from_fileobj(stream)
    volume = header.turned(stored.reshape(header.shape, order="F"), axes)
    for number in range(volume.shape[2]):
        yield header.film(volume[:, :, number])


def count_slices(path: Path, axes: str = "") -> int:
    """How many films ``read_nifti`` gives, from the header alone. Raises as it does."""
    return _Header.of(path).count(axes)


def cut_short(path: Path) -> bool:
    """Whether a file is shorter than its header promises, as its size or its packed end tells. Raises likewise."""
    wanted = _Header.of(path).end
    if not _packed(path):
        return path.stat().st_size < wanted
    with path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(), "little") < wanted % 2**32


@dataclass(frozen=True, slots=True)
class _Header:
    """What is known before any value is read."""

    own: Any
    """nibabel's header."""
    shape: tuple[int, int, int]
    end: int
    """Bytes from the beginning of the unpacked file to the end of its values."""

    @classmethod
    def of(cls, path: Path) -> _Header:
        nibabel = _nibabel(path)
        with _opened(path) as stream:
            block = stream.read(max(_LENGTHS.values()))
        version = nifti_version(block)
        if not version or len(block) < _LENGTHS[version]:
            raise ValueError("the header is cut short")
        own = getattr(nibabel, f"Nifti{version}Header")(block[: _LENGTHS[version]], check=False)
        if bytes(own["magic"]).startswith(b"ni"):
            raise ValueError("a header whose values are in another file (.hdr and .img): store both as one .nii file")
        shape = [int(size) for size in own.get_data_shape()]
        while len(shape) > 3 and shape[-1] == 1:
            shape.pop()
        if not shape or min(shape) < 1:
            raise ValueError(f"an array of shape {tuple(shape)} holds no films")
        if len(shape) > 3:
            raise ValueError(f"an array of shape {tuple(shape)}: one volume a file is read, not a series of them")
        dtype = own.get_data_dtype()
        size, offset = math.prod(shape) * dtype.itemsize, float(own["vox_offset"])
        if not 0 <= offset <= LARGEST or size > LARGEST:
            raise ValueError(
                f"the header promises {size / 1024**3:.1f} GiB from byte {offset:g} on, at most 4 are read"
            )
        return cls(own, cast(tuple[int, int, int], (*shape, 1, 1)[:3]), int(offset) + size)

    def count(self, axes: str) -> int:
        """Films of the volume."""
        return int(self.turned(np.broadcast_to(np.uint8(0), self.shape), axes).shape[2])

    def turned(self, volume: NDArray[Any], axes: str) -> NDArray[Any]:
        """[I, J, K] as stored -> [H, W, slices]."""
        if axes == STORED or (not axes and not (int(self.own["qform_code"]) or int(self.own["sform_code"]))):
            return volume
        turns = importlib.import_module("nibabel.orientations")
        affine = self.own.get_best_affine()
        start = turns.io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
        if np.isnan(start).any():
            raise ValueError("its affine gives no direction: name axes = stored in the table")
        flat = [int(start[axis, 0]) for axis in range(3) if volume.shape[axis] == 1]
        wanted = axes or _SHOWN[flat[0] if len(flat) == 1 else 2]
        turn = turns.ornt_transform(start, turns.axcodes2ornt(tuple(wanted)))
        return cast(NDArray[Any], turns.apply_orientation(volume, turn))

    def film(self, stored: NDArray[Any]) -> RawFilm:
        """One slice [H, W] as a film, after the file's slope and intercept. Raises ValueError."""
        kind, source = stored.dtype, f"NIfTI, {self.own.get_data_dtype().name}"
        if kind.names is not None:
            pixels = np.stack([stored[name] for name in "RGB"], axis=2)
            return RawFilm(pixels, "8-bit", 8, 0.0, 255.0, reoriented=True, source="NIfTI, 8 bits, colour")
        if kind.kind not in "uif":
            raise ValueError(f"values of type {kind}")
        slope, intercept = self.own.get_slope_inter()
        plain = slope is None or (slope, intercept) == (1.0, 0.0)
        values = np.ascontiguousarray(stored) if plain else np.float32(slope) * stored + np.float32(intercept)
        bits, window = 8 * kind.itemsize, self._window()
        if kind.kind == "f":
            return RawFilm(
                np.asarray(values, np.float32), "float", bits, 0.0, 1.0, window=window, reoriented=True, source=source
            )
        ends = (float(end) for end in (np.iinfo(kind).min, np.iinfo(kind).max))
        low, high = sorted(ends) if plain else sorted(slope * end + intercept for end in ends)
        if kind.kind == "u" and bits == 8 and plain:
            return RawFilm(values, "8-bit", 8, low, high, window=window, reoriented=True, source=source)
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        return RawFilm(native, "integer", bits, low, high, window=window, reoriented=True, source=source)

    def _window(self) -> Window | None:
        """The values that the header asks to be shown as black and white; None where it asks for none."""
        low, high = float(self.own["cal_min"]), float(self.own["cal_max"])
        if not (math.isfinite(low) and math.isfinite(high) and high > low):
            return None
        return Window((low + high) / 2, high - low, "LINEAR_EXACT")


def _opened(path: Path) -> BinaryIO:
    """The unpacked bytes."""
    return cast(BinaryIO, gzip.open(path)) if _packed(path) else path.open("rb")


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP


def _nibabel(path: Path) -> Any:
    try:
        return importlib.import_module("nibabel")
    except ImportError as error:
        raise CohortError(
            f"{path} is NIfTI and nibabel is not installed",
            closest="PNG, JPEG, TIFF, NPY and NPZ need nothing more",
            remedy='pip install "reid-audit[nifti]"',
        ) from error
