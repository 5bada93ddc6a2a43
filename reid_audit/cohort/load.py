"""Reads the films of a source into a cohort: into memory, or into a store on disk that later runs go on from."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from reid_audit.budget import Meter, Pace
from reid_audit.cohort.account import Account, left_out, notes
from reid_audit.cohort.assemble import Cohort, Films, Said, Subjects, arranged
from reid_audit.cohort.decode import decoded
from reid_audit.cohort.faults import Fault, refusal
from reid_audit.cohort.filmstore import FilmStore
from reid_audit.cohort.frame import Frame
from reid_audit.cohort.rendered import Rendered, Unfit
from reid_audit.cohort.segment import Entry
from reid_audit.cohort.shelf import Held, Shelf
from reid_audit.cohort.source import Listing, Row, Source, list_rows
from reid_audit.cohort.stream import stored_as_seen
from reid_audit.errors import CohortError
from reid_audit.imaging.stack import Stack
from reid_audit.observer import StageAdvanced, StageEnded, StageStarted
from reid_audit.records import COHORTS, Role

FEWEST = 2
"""Patients that are read however little time there is: nothing is tested with so few, but a report can say so."""


def load_cohort(source: Source, frame: Frame, role: Role) -> Cohort:
    """Read one cohort of the audit into memory.

    What was left out, how grey values were scaled and whether patients are known is in the summary and in ``notes``.
    Raises one CohortError for everything that cannot be read or scaled.
    """
    return _loaded(source, frame, role, Held(frame))


def stored_cohort(source: Source, frame: Frame, role: Role, store: FilmStore) -> Cohort[Stack]:
    """As ``load_cohort``, with the films in ``store``: rendered once, and read again a few at a time."""
    return _loaded(source, frame, role, store.opened(source.path, frame))


def _loaded(source: Source, frame: Frame, role: Role, shelf: Shelf[Films]) -> Cohort[Films]:
    path, meter = source.path, frame.meter
    listing = list_rows(path, source.where, source.strata, source.label)
    everybody = {row.patient for row in listing.rows}
    if meter is not None and meter.seconds is not None:
        listing = replace(listing, rows=by_chance(listing.rows))
    pace = Pace(meter or Meter(None, None), frame.observer)
    found = _read(listing, frame, shelf, pace, f"reading {COHORTS[role]} films")
    rows = tuple(found.rows)
    listing = replace(listing, rows=rows)
    unread = len(everybody - {row.patient for row in rows})
    _refuse_blank(found.blank, len(rows), path)
    cohort = arranged(
        found.digests,
        (frame.channels, frame.side, frame.side),
        shelf.arranged,
        Subjects(
            np.array([row.patient for row in rows], dtype=np.str_),
            np.array([row.age for row in rows], dtype=np.float64),
            np.array([row.sex for row in rows], dtype=np.str_),
            np.array([row.stratum for row in rows], dtype=np.str_),
            np.array([row.label for row in rows], dtype=np.str_),
        ),
        Said(role, source.strata, listing.known_patients),
    )
    noted = {
        "known_patients": listing.known_patients,
        "files": len({row.path for row in rows}),
        "left_out": left_out(listing.left_out),
        "grey_values": found.account.grey_values(),
    }
    said = (*notes(listing, found.account), *shelf.notes())
    if unread:
        said = (*said, f"no time to read the films of {unread} of {len(everybody)} patients, chosen by chance")
    return replace(cohort, summary=cohort.summary.model_copy(update=noted), notes=said, unread=unread)


def by_chance(rows: Sequence[Row]) -> tuple[Row, ...]:
    """``rows`` in the order of a digest of the patient, which means nothing; films of one file stay together."""
    drawn: dict[Path, bytes] = {}
    for row in rows:
        drawn.setdefault(row.path, hashlib.sha256(row.patient.encode()).digest())
    return tuple(sorted(rows, key=lambda row: (drawn[row.path], row.path)))


@dataclass(slots=True)
class Found:
    """What reading a cohort showed, film by film."""

    account: Account = field(default_factory=Account)
    rows: list[Row] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    blank: int = 0

    def add(self, row: Row, film: Rendered | Entry) -> None:
        """One more film."""
        self.account.add(film.passed)
        self.rows.append(row)
        self.digests.append(film.digest)
        self.blank += film.blank


def _read(listing: Listing, frame: Frame, shelf: Shelf[Films], pace: Pace, stage: str) -> Found:
    """The films, as far as the time reaches and patient by patient, on the ``shelf``. Raises CohortError for all files
    that cannot be read, or for the first film that does not fit the frame."""
    rows, observer = listing.rows, pace.observer
    observer.notice(StageStarted(stage, len(rows)))
    faults: list[Fault] = []
    done, people, found = 0, set[str](), Found()
    with closing(_films(rows, frame, shelf)) as films:
        for place, (row, film) in enumerate(films):
            if len(people) >= FEWEST and row.patient not in people and pace.meter.exhausted() is not None:
                break
            people.add(row.patient)
            done = place + 1
            if isinstance(film, Unfit) and not faults:
                raise film
            if isinstance(film, CohortError):
                faults += [] if isinstance(film, Unfit) else [Fault.of(film, "unreadable")]
                continue
            found.add(row, film)
            observer.notice(StageAdvanced(stage, done))
    if faults:
        raise refusal(faults, listing.source)
    observer.notice(StageEnded(stage, f"{done} films" if done == len(rows) else f"{done} of {len(rows)} films"))
    return found


def _films(
    rows: Sequence[Row], frame: Frame, shelf: Shelf[Films]
) -> Generator[tuple[Row, Rendered | Entry | CohortError]]:
    """Each row's film, put on the shelf or taken from it, in the rows' order; of a file that cannot be read, one error.

    What is not on the shelf is decoded ahead, on as many threads as PyTorch uses."""
    shelf.expect(len(rows))
    as_seen = stored_as_seen([row for row in rows if shelf.unsure(row)])
    kept = {row for row in rows if shelf.has(row, as_seen=as_seen)}
    others, threads = [row for row in rows if row not in kept], torch.get_num_threads()
    unread: set[Path] = set()
    with closing(decoded(others, frame, as_seen=as_seen, threads=threads)) as fresh, shelf:
        for row in rows:
            if row.path in unread:
                continue
            film: Rendered | Entry | CohortError | None = shelf.take(row, as_seen=as_seen) if row in kept else None
            if film is None and row in kept:
                film = next(decoded([row], frame, as_seen=as_seen, threads=1))[1]
            elif film is None:
                row, film = next(fresh)
            if isinstance(film, Rendered):
                shelf.add(row, film, as_seen=as_seen)
            elif isinstance(film, CohortError) and not isinstance(film, Unfit):
                unread.add(row.path)
            yield row, film


def _refuse_blank(blank: int, films: int, path: Path) -> None:
    if 2 * blank > films:
        raise CohortError(
            f"{blank} of {films} images in {path} are a single grey value",
            closest="at most half may be",
            remedy="check that they are the films the network was trained on; where their values use little of what "
            "the file can hold (12 bits in 16, CT), declare scaling in [preprocess]",
        )
