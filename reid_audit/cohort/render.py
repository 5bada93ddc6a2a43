"""Makes network input, before mean and std, of a raw film: scaling, channels, then torchvision's spatial steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reid_audit.cohort.raw import RawFilm, Values
from reid_audit.errors import CohortError
from reid_audit.preprocess import from_network
from reid_audit.records import Box, PreprocessSpec, Scaling

DEFAULT = Scaling(by="bits")
"""What is rendered where no scaling is declared: linear, the same for every film of a kind, nothing per film."""

_Planes = tuple[Image.Image, ...]
"""One film: an 8-bit "L" or "RGB" image, or one "F" image in [0, 1] per channel."""
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def render(film: RawFilm, spec: PreprocessSpec, side: int, channels: int) -> Tensor:
    """``film`` as the network saw it before mean and std: [channels, side, side] float32 in [0, 1].

    channels: 1 (grey) or 3. Raises CohortError where the scaling does not fit the film's values or the result is not
    square.
    """
    if spec.interpolation == "nearest" and film.picked is not None:
        film = replace(film, pixels=film.picked)
    values = _to_values(tuple(_spatial(plane, spec, side) for plane in _planes(film, spec, channels)))
    if values.shape != (channels, side, side):
        raise CohortError(
            f"a film is {values.shape[2]} x {values.shape[1]} pixels after preprocessing",
            closest=f"the audit needs {side} x {side} (resize = {spec.resize}, crop = {spec.crop})",
            remedy='declare crop = "center" or resize = "squash" in [preprocess], as in training',
        )
    return torch.from_numpy(values)


def applied(film: RawFilm, declared: Scaling | None) -> Scaling:
    """The scaling that ``render`` uses for ``film``.

    A window is replaced by the stored bits in a film that has none, a range that 8 bits cannot hold by those of an
    8-bit film (it is about other films of the audit).
    """
    if declared is None or (declared.by == "window" and film.window is None):
        return DEFAULT
    if declared.limits is not None and declared.by == "range" and film.kind == "8-bit":
        low, high = declared.limits
        return declared if low >= 0 and high <= 255 else DEFAULT
    return declared


def scaled(film: RawFilm, declared: Scaling | None) -> Values:
    """Grey values in [0, 1] at full size, [H, W] or [H, W, 3], black 0 and white 1. Raises CohortError."""
    scaling = applied(film, declared)
    if scaling.by == "window" and film.window is not None:
        values = film.window(film.pixels)
    else:
        low, high = _ends(film, scaling)
        span = np.float32(high - low) if high > low else np.float32(1.0)
        values = (film.pixels.astype(np.float32) - np.float32(low)) / span
    values = values.clip(0.0, 1.0)
    return np.asarray(1.0 - values if film.inverted else values, dtype=np.float32)


def _ends(film: RawFilm, scaling: Scaling) -> tuple[float, float]:
    """The values that become 0 and 1."""
    if scaling.by == "minmax":
        return film.extremes()
    if scaling.limits is not None:
        if scaling.by == "range":
            return scaling.limits
        low, high = np.percentile(film.pixels if film.quantiles is None else film.quantiles, scaling.limits)
        return float(low), float(high)
    low, high = film.extremes()
    if low < film.low or high > film.high:
        raise CohortError(
            f"a film holds {'float ' if film.kind == 'float' else ''}values outside {film.low:g} to {film.high:g}",
            closest=f"from {low:.6g} to {high:.6g} ({film.source})",
            remedy="declare how they become 0 to 1, such as scaling = { range = [0, 4095] } in [preprocess]",
        )
    return film.low, film.high


def _planes(film: RawFilm, spec: PreprocessSpec, channels: int) -> _Planes:
    if film.kind == "8-bit" and applied(film, spec.scaling) == DEFAULT:
        picture = Image.fromarray(255 - film.pixels if film.inverted else film.pixels)
        return (picture.convert("RGB" if channels == 3 else "L"),)
    values = _restored(film, spec) if film.as_seen and spec.scaling is None else scaled(film, spec.scaling)
    stack: NDArray[Any] = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    if channels == 1 and len(stack) == 3:
        stack = np.einsum("c,chw->hw", _LUMA, stack)[None].astype(np.float32)
    elif channels == 3 and len(stack) == 1:
        stack = np.repeat(stack, 3, axis=0)
    return tuple(Image.fromarray(np.ascontiguousarray(plane)) for plane in stack)


def _restored(film: RawFilm, spec: PreprocessSpec) -> Values:
    """Grey values in [0, 1] from pixels that were stored as the network saw them, after mean and std."""
    if spec.per_film != "none":
        raise CohortError(
            "a film holds values that its own mean and deviation were taken from",
            closest=f'per_film = "{spec.per_film}" cannot be undone',
            remedy="give the films as they were before it",
        )
    if not any(spec.mean) and all(value == 1.0 for value in spec.std):
        raise CohortError(
            "a film holds float values outside 0 to 1",
            closest="tensors stored as the network saw them are mapped back when mean and std are known",
            remedy="declare mean and std in [preprocess], or scaling, or store films in 0 to 1 (or as uint8, uint16)",
        )
    stack = film.pixels[None] if film.pixels.ndim == 2 else film.pixels.transpose(2, 0, 1)
    if len(spec.mean) > len(stack):
        raise CohortError(
            f"a film has {len(stack)} channels",
            closest=f"the preprocessing names {len(spec.mean)} means",
            remedy="give mean and std in [preprocess] as one value, or store the films with their three channels",
        )
    values = from_network(torch.from_numpy(stack.astype(np.float32))[None], spec)[0].numpy()
    return np.asarray(values[0] if film.pixels.ndim == 2 else values.transpose(1, 2, 0), dtype=np.float32)


def _spatial(image: Image.Image, spec: PreprocessSpec, side: int) -> Image.Image:
    """Cut, then resize, then crop; the last two as torchvision.transforms.Resize and CenterCrop do on PIL images."""
    if spec.keep is not None:
        image = _cut(image, spec.keep)
    wanted = spec.resize_to or side
    if spec.resize == "squash":
        image = _resize(image, (wanted, wanted), spec)
    elif spec.resize != "none":
        edges = image.size
        fitted = min(edges) if spec.resize == "shorter" else max(edges)
        width, height = (wanted if edge == fitted else max(1, int(wanted * edge / fitted)) for edge in edges)
        image = _resize(image, (width, height), spec)
    return _center_crop(image, side) if spec.crop == "center" else image


def _cut(image: Image.Image, keep: Box) -> Image.Image:
    """The part of the image, to whole pixels; one at least."""
    width, height = image.size
    left, top, right, bottom = keep
    across, down = (round(left * width), round(right * width)), (round(top * height), round(bottom * height))
    return image.crop((across[0], down[0], max(across[1], across[0] + 1), max(down[1], down[0] + 1)))


def _to_values(planes: _Planes) -> Values:
    """Images of the planes as one array [C, H, W] float32 in [0, 1]."""
    values: Values = np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])
    if planes[0].mode == "RGB":
        values = np.ascontiguousarray(values[0].transpose(2, 0, 1))
    if planes[0].mode != "F":
        values /= np.float32(255)
    return values.clip(0.0, 1.0)


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
