"""Reads PNG, JPEG, JPEG 2000, TIFF, BMP and WebP files as raw films."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from reid_audit.cohort.raw import RawFilm

_ORIENTATION = 0x0112
_SUBFILE_TYPE = 254
_SMALLER_COPY = 1
_TAIL = 4096


def read_pictures(path: Path) -> Iterator[RawFilm]:
    """The films of one picture file: every page of a TIFF but smaller copies, one film of every other format.

    An EXIF orientation is applied. Colour is kept as [H, W, 3], transparency dropped. Raises ValueError and what
    Pillow raises.
    """
    with Image.open(path) as image:
        pages = getattr(image, "n_frames", 1)
        if image.format != "TIFF":
            if pages > 1:
                raise ValueError(f"an animation of {pages} frames")
            yield _film(image)
            return
        for page in ImageSequence.Iterator(image):
            if not _smaller_copy(page):
                yield _film(page)


def count_pictures(path: Path) -> int:
    """How many films ``read_pictures`` gives."""
    with Image.open(path) as image:
        if image.format != "TIFF" or getattr(image, "n_frames", 1) == 1:
            return 1
        return sum(not _smaller_copy(page) for page in ImageSequence.Iterator(image))


def ends_well(path: Path) -> bool:
    """Whether a picture's header can be read and a PNG or JPEG has its end; nothing is decoded."""
    with Image.open(path) as image:
        mark = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}.get(image.format or "", b"")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return mark in file.read()


def _smaller_copy(page: Image.Image) -> bool:
    tags = getattr(page, "tag_v2", {})
    return bool(int(tags.get(_SUBFILE_TYPE, 0)) & _SMALLER_COPY)


def _film(image: Image.Image) -> RawFilm:
    name, mode = image.format or "picture", image.mode
    turned = image.getexif().get(_ORIENTATION, 1) not in (0, 1)
    upright = ImageOps.exif_transpose(image)
    if mode == "F":
        values = np.asarray(upright, dtype=np.float32)
        return RawFilm(values, "float", 32, 0.0, 1.0, turned=turned, source=f"{name}, floating point")
    if mode.startswith("I"):
        values = np.asarray(upright)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"integer values from {values.min()} to {values.max()}: 8 and 16 bits are read")
        return RawFilm(values.astype(np.uint16), "integer", 16, 0.0, 65535.0, turned=turned, source=f"{name}, 16 bits")
    grey = mode in ("1", "L", "LA", "La")
    pixels = np.asarray(upright.convert("L" if grey else "RGB"))
    colour = "" if grey else ", colour"
    return RawFilm(pixels, "8-bit", 8, 0.0, 255.0, turned=turned, source=f"{name}, 8 bits{colour}")
