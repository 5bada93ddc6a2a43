"""DICOM -> raw films: decoded, modality transformation applied, photometric interpretation and window noted."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from reid_audit.cohort.raw import Lookup, RawFilm, Window
from reid_audit.errors import CohortError

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_TAIL = 4096
_DECODERS = ("pydicom", "pylibjpeg", "pyjpegls", "pillow")
_NO_FILMS = ("SEG", "RTDOSE")
"""Modalities whose grids of numbers are drawn by people or computed: no film of a patient."""
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def read_dicom(path: Path) -> Iterator[RawFilm]:
    """Every frame of a DICOM file is a film. Raises CohortError without pydicom, ValueError for what it cannot read."""
    data = _open(path)
    if not any(name in data for name in _PIXELS):
        raise ValueError("a DICOM file without pixel data")
    for number in range(int(data.get("NumberOfFrames") or 1)):
        yield _quietly(_film, data, number)


@dataclass(frozen=True, slots=True)
class Header:
    """What a DICOM header says of a file's films and of the person on them."""

    frames: int
    """0 where the file holds no film, such as a report, a directory or a segmentation."""
    patient: str
    age: str
    sex: str


def read_header(path: Path) -> Header:
    """Frames and person, without decoding. Raises CohortError without pydicom, ValueError for what it cannot read."""
    return _quietly(_header, _open(path, stop_before_pixels=True))  # type: ignore[no-any-return]


def _header(header: Any) -> Header:
    patient, age, sex = (str(header.get(name) or "").strip() for name in ("PatientID", "PatientAge", "PatientSex"))
    film = header.get("Rows") and str(header.get("Modality", "")) not in _NO_FILMS
    return Header(int(header.get("NumberOfFrames") or 1) if film else 0, patient, age, sex)


def cut_short(path: Path) -> bool:
    """Whether a file is too short for its image, or a compressed image has no end; nothing is decoded."""
    size = path.stat().st_size
    with path.open("rb") as file:
        data = _open(path, file, stop_before_pixels=True)
        left = size - file.tell()
        if data.file_meta.TransferSyntaxUID.is_compressed:
            file.seek(max(0, size - _TAIL))
            return _SEQUENCE_END not in file.read()
    values = int(data.Rows) * int(data.Columns) * int(data.get("SamplesPerPixel") or 1)
    return left < values * int(data.get("NumberOfFrames") or 1) * int(data.BitsAllocated) // 8


def _open(path: Path, file: BinaryIO | None = None, **options: Any) -> Any:
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError as error:
        raise CohortError(
            f"{path} is DICOM and pydicom is not installed",
            closest="PNG, JPEG, TIFF, NPY and NPZ need nothing more",
            remedy='pip install "reid-audit[dicom]"',
        ) from error
    data = _quietly(pydicom.dcmread, file or path, force=True, **options)
    if getattr(data, "file_meta", None) is None:
        data.file_meta = pydicom.dataset.FileMetaDataset()
    if "TransferSyntaxUID" not in data.file_meta:
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = pydicom.uid.UID(_IMPLICIT if implicit else _EXPLICIT)
    return data


def _quietly(call: Any, *given: Any, **options: Any) -> Any:
    """Without the library's warnings, which quote values of a patient's header; any failure becomes ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(*given, **options)
        except OSError:
            raise
        except Exception as error:  # pydicom and its codecs raise many kinds, none of them a verdict
            raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error


def _film(data: Any, number: int) -> RawFilm:
    pixels = importlib.import_module("pydicom.pixels")
    photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    stored = _decoded(pixels, data, number)
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    source = f"DICOM, {photometric}"
    if "PixelData" not in data:
        return RawFilm(stored.astype(np.float32), "float", 32, 0.0, 1.0, source=f"{source}, floating point")
    if photometric == "PALETTE COLOR":
        colours = pixels.apply_color_lut(stored, data)
        colours = (colours >> 8).astype(np.uint8) if colours.dtype.itemsize > 1 else colours
        return RawFilm(colours, "8-bit", 8, 0.0, 255.0, source=source)
    bits = int(data.BitsStored)
    source = f"{source}, {bits} bits stored"
    if stored.ndim == 3:
        return _ranged(stored, bits, (0.0, float(2**bits - 1)), source=source)
    values, ends = _modality(stored, data, number, bits, pixels)
    return _ranged(
        values,
        bits,
        ends,
        source=source,
        inverted=photometric == "MONOCHROME1" or str(data.get("PresentationLUTShape", "")) == "INVERSE",
        window=_voi(_holder(data, number, "FrameVOILUTSequence", "WindowCenter")),
    )


def _decoded(pixels: Any, data: Any, number: int) -> NDArray[Any]:
    """Stored values of one frame, by the first decoder that reads it.

    GDCM ends the process over some damaged streams: it is asked only where nothing else is there (JPEG lossless).
    """
    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return pixels.pixel_array(data, index=number)  # type: ignore[no-any-return]
    there = pixels.get_decoder(syntax).available_plugins
    order = [name for name in _DECODERS if name in there] or list(there) or [""]
    for name in order[:-1]:
        with contextlib.suppress(Exception):
            return pixels.pixel_array(data, index=number, decoding_plugin=name)  # type: ignore[no-any-return]
    return pixels.pixel_array(data, index=number, decoding_plugin=order[-1])  # type: ignore[no-any-return]


def _ranged(values: NDArray[Any], bits: int, ends: tuple[float, float], **rest: Any) -> RawFilm:
    """Whole numbers that ``bits`` can hold between ``ends``."""
    low, high = min(ends), max(ends)
    byte = values.dtype == np.uint8 and (low, high) == (0.0, 255.0)
    return RawFilm(values, "8-bit" if byte else "integer", bits, low, high, **rest)


def _modality(
    stored: NDArray[Any], data: Any, number: int, bits: int, pixels: Any
) -> tuple[NDArray[Any], tuple[float, float]]:
    """Values after the modality transformation, and what the ends of the stored range become."""
    signed = bool(data.PixelRepresentation)
    ends = (float(-(2 ** (bits - 1))), float(2 ** (bits - 1) - 1)) if signed else (0.0, float(2**bits - 1))
    if data.get("ModalityLUTSequence"):
        entry = int(data.ModalityLUTSequence[0].LUTDescriptor[2])
        return pixels.apply_modality_lut(stored, data), (0.0, float(2**entry - 1))
    holder = _holder(data, number, "PixelValueTransformationSequence", "RescaleSlope")
    slope, intercept = float(holder.get("RescaleSlope", 1) or 1), float(holder.get("RescaleIntercept", 0) or 0)
    if (slope, intercept) == (1.0, 0.0):
        return stored, ends
    rescaled = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return rescaled, (ends[0] * slope + intercept, ends[1] * slope + intercept)


def _holder(data: Any, number: int, sequence: str, keyword: str) -> Any:
    """Where this frame keeps ``keyword``: the data set itself, or the functional groups of an enhanced file."""
    if keyword in data:
        return data
    groups = [*(data.get("PerFrameFunctionalGroupsSequence") or [])[number : number + 1]]
    groups += [*(data.get("SharedFunctionalGroupsSequence") or [])[:1]]
    return next((group[sequence][0] for group in groups if group.get(sequence)), data)


def _voi(holder: Any) -> Window | Lookup | None:
    """The first lookup table, else the first window; None where there is none that can be used."""
    if holder.get("VOILUTSequence"):
        item = holder.VOILUTSequence[0]
        entries, first, bits = (int(value) for value in item.LUTDescriptor)
        table = np.asarray(_numbers(item["LUTData"].value)[: entries or 65536], dtype=np.float32)
        return Lookup(first, table / np.float32(2**bits - 1))
    center, width = _first(holder.get("WindowCenter")), _first(holder.get("WindowWidth"))
    function = str(holder.get("VOILUTFunction", "") or "LINEAR").upper()
    if center is None or width is None or width <= 0 or function not in _FUNCTIONS:
        return None
    return Window(center, width, function)  # type: ignore[arg-type]


def _numbers(stored: Any) -> Any:
    """LUT data is a list of numbers or, where its representation is unknown, bytes of little-endian words."""
    return np.frombuffer(stored, dtype="<u2") if isinstance(stored, bytes) else stored


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    many = isinstance(value, list) or (hasattr(value, "__iter__") and not isinstance(value, str))
    return float(next(iter(value))) if many else float(value)
