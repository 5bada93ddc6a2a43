"""One file -> films as PIL images, and the spatial steps torchvision's transforms would do on them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from reid_audit.errors import CohortError
from reid_audit.preprocess import from_network
from reid_audit.records import PreprocessSpec

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
ARRAYS = (".npy", ".npz")
DICOM = (".dcm", ".dicom")
SUFFIXES = PICTURES + ARRAYS + DICOM

Planes = tuple[Image.Image, ...]
"""One film: an 8-bit "L" or "RGB" image, or one "F" image in [0, 1] per channel."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def read_films(path: Path, *, channels: int, stored_as: PreprocessSpec | None = None) -> Iterator[Planes]:
    """The films of one file, in order: one for a picture or a DICOM file, any number for NPY and NPZ.

    8-bit values are kept, 16-bit ones divided by 65,535. ``stored_as``: float arrays hold what the network saw under
    this preprocessing and are mapped back to [0, 1]. Raises CohortError naming a file that cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in ARRAYS:
            for film in read_array(path):
                yield _array_planes(film, path, channels, stored_as)
        elif suffix in DICOM:
            yield _dicom_planes(path, channels)
        else:
            yield _picture_planes(path, channels)
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, BadZipFile, Image.DecompressionBombError) as error:
        raise unreadable(path, str(error) or type(error).__name__) from error


def read_array(path: Path) -> NDArray[Any]:
    """Films of an NPY or NPZ file as [N, H, W] or [N, C, H, W] (a lone film is given N = 1); never unpickles.

    An NPY array of three dimensions is one film if the first is 1 or 3, otherwise a stack.
    """
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            stack: NDArray[Any] = archive["images"]
    else:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
        if stack.ndim == 2 or (stack.ndim == 3 and stack.shape[0] in (1, 3)):
            stack = stack[None]
    if stack.ndim not in (3, 4) or (stack.ndim == 4 and stack.shape[1] not in (1, 3)) or 0 in stack.shape[1:]:
        raise ValueError(f"an array of shape {stack.shape} holds no films")
    return stack


def beyond_unit(path: Path) -> bool:
    """Whether an NPY or NPZ file holds float values outside [0, 1]. Raises CohortError for NaN and infinity."""
    try:
        stack = read_array(path)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise unreadable(path, str(error) or type(error).__name__) from error
    if stack.dtype.kind != "f" or not stack.size:
        return False
    low, high = float(stack.min()), float(stack.max())
    if not np.isfinite([low, high]).all():
        raise unreadable(path, "values that are not finite")
    return low < 0.0 or high > 1.0


def spatial(image: Image.Image, spec: PreprocessSpec, side: int) -> Image.Image:
    """Resize, then crop, as torchvision.transforms.Resize and CenterCrop do on PIL images."""
    if spec.resize == "squash":
        image = _resize(image, (side, side), spec)
    elif spec.resize == "shorter":
        width, height = image.size
        short, long = sorted((width, height))
        other = int(side * long / short)
        image = _resize(image, (side, other) if width <= height else (other, side), spec)
    return _center_crop(image, side) if spec.crop == "center" else image


def to_values(planes: Planes) -> NDArray[np.float32]:
    """[C, H, W] float32 in [0, 1]."""
    values: NDArray[np.float32] = np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])
    if planes[0].mode == "RGB":
        values = np.ascontiguousarray(values[0].transpose(2, 0, 1))
    if planes[0].mode != "F":
        values /= np.float32(255)
    return values.clip(0.0, 1.0)


def unreadable(path: Path, why: str) -> CohortError:
    """The refusal that names one file."""
    return CohortError(
        f"cannot read the image {path}",
        closest=why,
        remedy="repair or remove the file (PNG, JPEG, TIFF, NPY, NPZ and DICOM are read)",
    )


def _resize(image: Image.Image, size: tuple[int, int], spec: PreprocessSpec) -> Image.Image:
    return image if image.size == size else image.resize(size, _FILTERS[spec.interpolation])


def _center_crop(image: Image.Image, side: int) -> Image.Image:
    width, height = image.size
    if width < side or height < side:
        canvas = Image.new(image.mode, (max(width, side), max(height, side)))
        canvas.paste(image, (max(side - width, 0) // 2, max(side - height, 0) // 2))
        image, (width, height) = canvas, canvas.size
    left, top = round((width - side) / 2.0), round((height - side) / 2.0)
    return image.crop((left, top, left + side, top + side))


def _picture_planes(path: Path, channels: int) -> Planes:
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise ValueError(f"the file holds {getattr(image, 'n_frames', 0)} frames")
        if image.mode.startswith("I") or image.mode == "F":
            return _array_planes(np.asarray(image), path, channels, None)
        return (image.convert("RGB" if channels == 3 else "L"),)


def _array_planes(film: NDArray[Any], path: Path, channels: int, stored_as: PreprocessSpec | None) -> Planes:
    """[H, W] or [C, H, W] of any supported type."""
    stack = film if film.ndim == 3 else film[None]
    if stack.dtype == np.uint8:
        pixels = np.ascontiguousarray(stack.transpose(1, 2, 0) if len(stack) == 3 else stack[0])
        return (Image.fromarray(pixels).convert("RGB" if channels == 3 else "L"),)
    values = _unit_values(stack, path, stored_as)
    if channels == 1 and len(values) == 3:
        values = np.einsum("c,chw->hw", _LUMA, values)[None].astype(np.float32)
    elif channels == 3 and len(values) == 1:
        values = np.repeat(values, 3, axis=0)
    return tuple(Image.fromarray(np.ascontiguousarray(plane)) for plane in values)


def _unit_values(stack: NDArray[Any], path: Path, stored_as: PreprocessSpec | None) -> NDArray[np.float32]:
    if stack.dtype.kind in "iu":
        low, high = int(stack.min()), int(stack.max())
        if low < 0 or high > 65535:
            raise ValueError(f"integer values from {low} to {high}: only 8 and 16 bit are read")
        return stack.astype(np.float32) / np.float32(65535)
    if stack.dtype.kind != "f":
        raise ValueError(f"values of type {stack.dtype}")
    values: NDArray[np.float32] = np.ascontiguousarray(stack, dtype=np.float32)
    if stored_as is not None:
        if len(stored_as.mean) > len(values):
            raise ValueError(f"{len(values)} channels, but the preprocessing names {len(stored_as.mean)} means")
        restored: NDArray[np.float32] = from_network(torch.from_numpy(values.copy())[None], stored_as)[0].numpy()
        return restored
    if float(values.min()) < 0.0 or float(values.max()) > 1.0:
        raise ValueError(f"float values from {float(values.min()):.4g} to {float(values.max()):.4g} in {path.name}")
    return values


def _dicom_planes(path: Path, channels: int) -> Planes:
    """Modality and window tables applied, then the film's own range to [0, 1], MONOCHROME1 inverted."""
    try:
        pydicom = importlib.import_module("pydicom")
        tables = importlib.import_module("pydicom.pixels")
    except ImportError as error:
        raise CohortError(
            f"{path} is DICOM and pydicom is not installed",
            closest="PNG, JPEG, TIFF, NPY and NPZ need nothing more",
            remedy='pip install "reid-audit[dicom]"',
        ) from error
    try:
        data = pydicom.dcmread(path)
        pixels = tables.apply_modality_lut(data.pixel_array, data)
        values = np.asarray(tables.apply_voi_lut(pixels, data), dtype=np.float32)
        inverted = str(data.PhotometricInterpretation) == "MONOCHROME1"
    except Exception as error:  # pydicom and its codecs raise many kinds, none of them a verdict
        raise unreadable(path, str(error) or type(error).__name__) from error
    if values.ndim != 2:
        raise ValueError(f"pixel data of shape {values.shape}: one greyscale frame is read")
    low, high = float(values.min()), float(values.max())
    values = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return _array_planes(1.0 - values if inverted else values, path, channels, None)
