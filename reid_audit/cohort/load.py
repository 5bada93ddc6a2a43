"""Source -> Cohort: one file decoded at a time, memory for the result only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reid_audit.cohort.account import Account, left_out, notes
from reid_audit.cohort.assemble import Cohort, assemble
from reid_audit.cohort.faults import Fault, refusal
from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.render import render
from reid_audit.cohort.source import Listing, Row, list_rows
from reid_audit.cohort.stream import films_or_faults, stored_as_seen
from reid_audit.errors import CohortError
from reid_audit.observer import Observer, SilentObserver, StageAdvanced, StageEnded, StageStarted
from reid_audit.records import PreprocessSpec

SIDES = {"reference": "training", "holdout": "hold-out"}
_CONSTANT = 0.5 / 255
"""A film whose values span less than half an 8-bit step shows nothing."""


@dataclass(frozen=True, slots=True)
class _Frame:
    spec: PreprocessSpec
    side: int
    channels: int


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
    What was left out, how grey values were scaled and whether patients are known is in the summary and in ``notes``.
    observer: told of each film read. Raises one CohortError for everything that cannot be read or scaled.
    """
    listing = list_rows(path, where, strata, label)
    account = Account(spec.scaling)
    frame = _Frame(spec, side, channels)
    images = _read(listing, frame, account, observer or SilentObserver(), f"reading {SIDES[role]} films")
    _refuse_constant(images, path)
    cohort = assemble(
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
    told = {
        "known_patients": listing.known_patients,
        "files": len({row.path for row in listing.rows}),
        "left_out": left_out(listing.left_out),
        "grey_values": account.grey_values(),
    }
    return replace(cohort, summary=cohort.summary.model_copy(update=told), notes=notes(listing, account))


def load_images(
    path: Path, *, spec: PreprocessSpec, side: int, channels: int = 1, where: Mapping[str, str] | None = None
) -> Tensor:
    """Films alone, for fitting a prior: [N, channels, side, side] float32 in [0, 1], ordered by content."""
    return load_cohort(path, role="reference", spec=spec, side=side, channels=channels, where=where).images


def _read(listing: Listing, frame: _Frame, account: Account, observer: Observer, stage: str) -> Tensor:
    """All films rendered. Raises CohortError for all files that cannot be read, or for the first film that does not
    fit the frame."""
    rows = listing.rows
    images = torch.empty(len(rows), frame.channels, frame.side, frame.side)
    observer.notice(StageStarted(stage, len(rows)))
    faults: list[Fault] = []
    for place, (row, film) in enumerate(films_or_faults(rows, as_seen=stored_as_seen(rows))):
        if isinstance(film, CohortError):
            faults.append(Fault.of(film, "unreadable"))
            continue
        account.add(film)
        if not faults:
            images[place] = _rendered(row, film, frame)
        observer.notice(StageAdvanced(stage, place + 1))
    if faults:
        raise refusal(faults, listing.source)
    observer.notice(StageEnded(stage, f"{len(rows)} films"))
    return images


def _rendered(row: Row, film: RawFilm, frame: _Frame) -> Tensor:
    try:
        return render(film, frame.spec, frame.side, frame.channels)
    except CohortError as error:
        raise CohortError(f"{row.path}: {error.what}", closest=error.closest, remedy=error.remedy) from error


def _refuse_constant(images: Tensor, path: Path) -> None:
    flat = images.flatten(1)
    constant = int((flat.amax(1) - flat.amin(1) < _CONSTANT).sum())
    if 2 * constant > len(images):
        raise CohortError(
            f"{constant} of {len(images)} images in {path} are a single grey value",
            closest="at most half may be",
            remedy="check that they are the films the network was trained on; where their values use little of what "
            "the file can hold (12 bits in 16, CT), declare scaling in [preprocess]",
        )
