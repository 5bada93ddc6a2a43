"""Source -> Cohort: one file decoded at a time, memory for the result only."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reid_audit.cohort.assemble import Cohort, assemble
from reid_audit.cohort.decode import ARRAYS, beyond_unit, read_films, spatial, to_values
from reid_audit.cohort.source import Row, list_rows
from reid_audit.errors import CohortError
from reid_audit.observer import Noted, Observer, SilentObserver
from reid_audit.records import PreprocessSpec

_CONSTANT = 0.5 / 255
"""A film whose values span less than half an 8-bit step shows nothing."""


def load_cohort(
    path: Path,
    *,
    role: Literal["reference", "holdout"],
    spec: PreprocessSpec,
    side: int,
    channels: int = 1,
    where: Mapping[str, str] | None = None,
    strata: tuple[str, ...] = (),
    label: str | None = None,
    observer: Observer | None = None,
) -> Cohort:
    """Read one side of the audit.

    path: folder, CSV, NPZ, NPY or one image (see ``list_rows``). side: pixels of the square films in the result.
    channels: 1 (grey) or 3. where: row filters. strata: manifest columns the tests are stratified by.
    label: the manifest column the network was trained on, for the loss.
    Without patient ids every film is its own patient; the observer is told. Raises CohortError.
    """
    listing = list_rows(path, where, strata, label)
    images = _read(listing.rows, spec, side, channels)
    _refuse_constant(images, path)
    if not listing.known_patients:
        told = observer or SilentObserver()
        told.notice(Noted(f"{role}: no patient ids, so each of {len(images)} films counts as its own patient"))
    return assemble(
        images,
        np.array([row.patient for row in listing.rows], dtype=np.str_),
        np.array([row.age for row in listing.rows], dtype=np.float64),
        np.array([row.sex for row in listing.rows], dtype=np.str_),
        np.array([row.stratum for row in listing.rows], dtype=np.str_),
        np.array([row.label for row in listing.rows], dtype=np.str_),
        role=role,
        stratum_names=strata,
        known_patients=listing.known_patients,
    )


def load_images(
    path: Path, *, spec: PreprocessSpec, side: int, channels: int = 1, where: Mapping[str, str] | None = None
) -> Tensor:
    """Films alone, for fitting a prior: [N, channels, side, side] float32 in [0, 1], ordered by content."""
    return load_cohort(path, role="reference", spec=spec, side=side, channels=channels, where=where).images


def _read(rows: tuple[Row, ...], spec: PreprocessSpec, side: int, channels: int) -> Tensor:
    images = torch.empty(len(rows), channels, side, side)
    stored_as = _stored_as(rows, spec)
    done = 0
    for path, group in groupby(rows, key=lambda row: row.path):
        wanted = [row.film for row in group]
        place = {film: done + i for i, film in enumerate(wanted)}
        for number, planes in enumerate(read_films(path, channels=channels, stored_as=stored_as)):
            if number not in place:
                continue
            values = to_values(tuple(spatial(plane, spec, side) for plane in planes))
            if values.shape != (channels, side, side):
                raise CohortError(
                    f"{path} is {values.shape[2]} x {values.shape[1]} pixels after preprocessing",
                    closest=f"the audit needs {side} x {side} (resize = {spec.resize}, crop = {spec.crop})",
                    remedy='declare crop = "center" or resize = "squash" in [preprocess], as in training',
                )
            images[place[number]] = torch.from_numpy(values)
        done += len(wanted)
    return images


def _stored_as(rows: tuple[Row, ...], spec: PreprocessSpec) -> PreprocessSpec | None:
    """The preprocessing to undo, where float arrays were stored exactly as the network saw them.

    Decided once for the whole source: a single dark film may happen to lie in [0, 1].
    """
    arrays = sorted({row.path for row in rows if row.path.suffix.lower() in ARRAYS})
    first = next((path for path in arrays if beyond_unit(path)), None)
    if first is None:
        return None
    if not any(spec.mean) and all(value == 1.0 for value in spec.std):
        raise CohortError(
            f"{first} holds float values outside 0 to 1",
            closest="tensors stored as the network saw them are mapped back when mean and std are known",
            remedy="declare mean and std in [preprocess], or store films in 0 to 1 (or as uint8, uint16)",
        )
    return spec


def _refuse_constant(images: Tensor, path: Path) -> None:
    flat = images.flatten(1)
    constant = int((flat.amax(1) - flat.amin(1) < _CONSTANT).sum())
    if 2 * constant > len(images):
        raise CohortError(
            f"{constant} of {len(images)} images in {path} are a single grey value",
            closest="at most half may be",
            remedy="check that the files are the films the network was trained on (16-bit values fill 0 to 65535)",
        )
