"""Reads the films of a source into a cohort: one file is decoded at a time, so memory holds the result only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reid_audit.budget import Meter, Pace
from reid_audit.cohort.account import Account, left_out, notes
from reid_audit.cohort.assemble import Cohort, Subjects, assemble
from reid_audit.cohort.faults import Fault, refusal
from reid_audit.cohort.frame import Frame
from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.render import render
from reid_audit.cohort.source import Listing, Row, Source, list_rows
from reid_audit.cohort.stream import films_or_faults, stored_as_seen
from reid_audit.errors import CohortError
from reid_audit.observer import StageAdvanced, StageEnded, StageStarted
from reid_audit.records import PreprocessSpec

SIDES = {"reference": "training", "holdout": "hold-out"}
FEWEST = 2
"""Patients that are read however little time there is: nothing is tested with so few, but a report can say so."""
_CONSTANT = 0.5 / 255
"""A film whose values span less than half an 8-bit step shows nothing."""


def load_cohort(source: Source, frame: Frame, role: Literal["reference", "holdout"]) -> Cohort:
    """Read one side of the audit.

    What was left out, how grey values were scaled and whether patients are known is in the summary and in ``notes``.
    Raises one CohortError for everything that cannot be read or scaled.
    """
    path, meter = source.path, frame.meter
    listing = list_rows(path, source.where, source.strata, source.label)
    everybody = {row.patient for row in listing.rows}
    if meter is not None and meter.seconds is not None:
        listing = replace(listing, rows=by_chance(listing.rows))
    account = Account(frame.spec.scaling)
    pace = Pace(meter or Meter(None, None), frame.observer)
    images = _read(listing, frame, account, pace, f"reading {SIDES[role]} films")
    listing = replace(listing, rows=listing.rows[: len(images)])
    unread = len(everybody - {row.patient for row in listing.rows})
    _refuse_constant(images, path)
    cohort = assemble(
        images,
        Subjects(
            np.array([row.patient for row in listing.rows], dtype=np.str_),
            np.array([row.age for row in listing.rows], dtype=np.float64),
            np.array([row.sex for row in listing.rows], dtype=np.str_),
            np.array([row.stratum for row in listing.rows], dtype=np.str_),
            np.array([row.label for row in listing.rows], dtype=np.str_),
        ),
        role=role,
        stratum_names=source.strata,
        known_patients=listing.known_patients,
    )
    told = {
        "known_patients": listing.known_patients,
        "files": len({row.path for row in listing.rows}),
        "left_out": left_out(listing.left_out),
        "grey_values": account.grey_values(),
    }
    said = notes(listing, account)
    if unread:
        said = (*said, f"no time to read the films of {unread} of {len(everybody)} patients, chosen by chance")
    return replace(cohort, summary=cohort.summary.model_copy(update=told), notes=said, unread=unread)


def load_images(
    path: Path, *, spec: PreprocessSpec, side: int, channels: int = 1, where: Mapping[str, str] | None = None
) -> Tensor:
    """Films alone, for fitting a prior: [N, channels, side, side] float32 in [0, 1], ordered by content."""
    return load_cohort(Source(path, where), Frame(spec, side, channels), "reference").images


def by_chance(rows: Sequence[Row]) -> tuple[Row, ...]:
    """``rows`` in the order of a digest of the patient, which means nothing; films of one file stay together."""
    drawn: dict[Path, bytes] = {}
    for row in rows:
        drawn.setdefault(row.path, hashlib.sha256(row.patient.encode()).digest())
    return tuple(sorted(rows, key=lambda row: (drawn[row.path], row.path)))


def _read(listing: Listing, frame: Frame, account: Account, pace: Pace, stage: str) -> Tensor:
    """The films rendered, as far as the time reaches and patient by patient. Raises CohortError for all files that
    cannot be read, or for the first film that does not fit the frame."""
    rows, observer = listing.rows, pace.observer
    images = torch.empty(len(rows), frame.channels, frame.side, frame.side)
    observer.notice(StageStarted(stage, len(rows)))
    faults: list[Fault] = []
    done, people = 0, set[str]()
    for place, (row, film) in enumerate(films_or_faults(rows, as_seen=stored_as_seen(rows))):
        if len(people) >= FEWEST and row.patient not in people and pace.meter.exhausted() is not None:
            break
        people.add(row.patient)
        done = place + 1
        if isinstance(film, CohortError):
            faults.append(Fault.of(film, "unreadable"))
            continue
        account.add(film)
        if not faults:
            images[place] = _rendered(row, film, frame)
        observer.notice(StageAdvanced(stage, done))
    if faults:
        raise refusal(faults, listing.source)
    observer.notice(StageEnded(stage, f"{done} films" if done == len(rows) else f"{done} of {len(rows)} films"))
    return images[:done]


def _rendered(row: Row, film: RawFilm, frame: Frame) -> Tensor:
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
