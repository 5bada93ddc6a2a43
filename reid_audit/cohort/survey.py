"""What is wrong with one cohort of an audit, and with both together: everything at once, before anything costs time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reid_audit.budget import OutOfTime, Pace, unhurried
from reid_audit.cohort.account import Account, Passed, notes
from reid_audit.cohort.account import left_out as left_out_of
from reid_audit.cohort.faults import Fault, refusal
from reid_audit.cohort.overlap import THUMB
from reid_audit.cohort.raw import RawFilm, Values
from reid_audit.cohort.read import may_be_damaged
from reid_audit.cohort.render import scaled
from reid_audit.cohort.sample import fingerprints
from reid_audit.cohort.source import Listing, Row, Source, collect
from reid_audit.cohort.stream import films_or_faults, stored_as_seen
from reid_audit.errors import CohortError
from reid_audit.records import GreyValues, LeftOut, Scaling

DECODED_BYTES = 256 * 1024 * 1024
"""Bytes of files that a survey decodes: some seconds. Of a larger source a draw of that size is decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class CohortSurvey:
    """One cohort of an audit as far as it can be known without a network. Holds patient ids: never publish it whole."""

    role: str
    source: str
    faults: tuple[Fault, ...]
    """Everything that has to be put right; empty: the cohort can be read."""
    films: int
    patients: int
    files: int
    known_patients: bool
    """False where nobody names the patients and every file counts as one."""
    decoded: int
    """How many of the films were decoded; of the others only name, row and header were looked at."""
    seconds: float
    """How long that took."""
    left_out: tuple[LeftOut, ...]
    grey_values: tuple[GreyValues, ...]
    """How the decoded films are scaled."""
    labels: tuple[tuple[str, int], ...]
    """Films by training label, the most frequent first; empty without a label column."""
    strata: tuple[tuple[str, int], ...]
    """Films by stratum; empty without stratum columns."""
    ages: int
    """Films whose patient's age is known."""
    sexes: int
    twins: int
    """Films that are, value for value, a film of another patient of the same cohort."""
    notes: tuple[str, ...]
    """Lines for the user; no names of files or patients."""
    people: tuple[str, ...]
    """[films] patient of each film. Restricted."""
    unread_people: tuple[str, ...]
    """Patients named by rows whose films cannot be read. Restricted."""
    prints: tuple[bytes, ...]
    """[films] digest of each film's file or array content."""
    thumbs: Values
    """[decoded, pixels] small grey pictures, for telling whether two films are one."""
    thumb_people: tuple[str, ...]
    """[decoded] patient of each thumbnail. Restricted."""

    def refuse(self) -> None:
        """Raise one CohortError for all faults; nothing where there are none."""
        if self.faults:
            raise refusal(self.faults, self.source)


def survey(
    source: Source,
    *,
    role: str,
    scaling: Scaling | None = None,
    decode_bytes: int = DECODED_BYTES,
    pace: Pace | None = None,
) -> CohortSurvey:
    """Look at one cohort: every row, id, age, sex, label and header, and the films themselves up to ``decode_bytes``.

    ``scaling`` is that of the policy. Decoding ends with the time of ``pace``: films that look damaged come first, then
    whom the films' content draws; where not all are decoded, ``decoded`` and ``notes`` say so. Never raises
    CohortError: all that cannot be read is in ``faults``.
    """
    pace, path, label, strata = pace or unhurried(), source.path, source.label, source.strata
    try:
        listing = collect(path, source.where, strata, label)
    except CohortError as error:
        listing = Listing(str(path), (), False, faults=(Fault.of(error, "source"),))
    faults = list(listing.faults)
    prints = fingerprints(listing.rows)
    account = Account()
    chosen = _affordable(listing.rows, prints, decode_bytes, hurried=pace.meter.seconds is not None)
    began = pace.meter.elapsed()
    looks = _in_time(_looks(chosen, scaling, account, faults), len(chosen), pace, f"decoding {role} films")
    seconds = pace.meter.elapsed() - began
    blank = {look.row for look in looks if not look.thumb.any()}
    if 2 * len(blank) > len(looks):
        faults.append(_blank(len(blank), len(looks), path))
    prints = [b"" if row in blank else content for row, content in zip(listing.rows, prints, strict=True)]
    return CohortSurvey(
        role=role,
        source=str(path),
        faults=tuple(faults),
        films=len(listing.rows),
        patients=len({row.patient for row in listing.rows}),
        files=len({row.path for row in listing.rows}),
        known_patients=listing.known_patients,
        decoded=len(looks),
        seconds=seconds,
        left_out=left_out_of(listing.left_out),
        grey_values=account.grey_values(),
        labels=tuple(Counter(row.label for row in listing.rows).most_common()) if label is not None else (),
        strata=tuple(Counter(row.stratum for row in listing.rows).most_common()) if strata else (),
        ages=sum(not np.isnan(row.age) for row in listing.rows),
        sexes=sum(bool(row.sex) for row in listing.rows),
        twins=_twins(listing.rows, prints),
        notes=notes(listing, account) + _partly(len(looks), len(listing.rows), faults),
        people=tuple(row.patient for row in listing.rows),
        unread_people=listing.unread,
        prints=tuple(prints),
        thumbs=np.stack([look.thumb for look in looks]) if looks else np.zeros((0, THUMB * THUMB), np.float32),
        thumb_people=tuple(look.row.patient for look in looks),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What decoding one film tells."""

    row: Row
    thumb: Values


def _affordable(rows: Sequence[Row], prints: Sequence[bytes], limit: int, *, hurried: bool) -> list[Row]:
    """The rows whose files are decoded: all within ``limit`` bytes, drawn by content, and all that look damaged.

    In the rows' order; hurried: those that look damaged first, then as they were drawn, so that the end of the time
    is as good as another draw.
    """
    sizes = {row.path: row.path.stat().st_size for row in rows}
    turns = dict[Path, int]()
    for _, path in sorted({(content, row.path) for row, content in zip(rows, prints, strict=True)}):
        if path not in turns and sizes[path] <= limit:
            limit -= sizes[path]
            turns[path] = len(turns)
    if not hurried:
        return [row for row in rows if row.path in turns or may_be_damaged(row.path)]
    turns |= {path: -1 for path in sizes if may_be_damaged(path)}
    return sorted((row for row in rows if row.path in turns), key=lambda row: (turns[row.path], row.path))


def _in_time(looks: Iterator[_Look], count: int, pace: Pace, stage: str) -> list[_Look]:
    """As many of ``count`` looks as the time allows, none where there is none."""
    found: list[_Look] = []
    with suppress(OutOfTime):
        found.extend(pace.over(stage, looks, count))
    return found


def _looks(rows: Sequence[Row], scaling: Scaling | None, account: Account, faults: list[Fault]) -> Iterator[_Look]:
    """Each film once decoded and accounted for; what cannot be is added to ``faults``."""
    try:
        as_seen = stored_as_seen(rows)
    except CohortError:
        as_seen = False  # the file is named when its turn comes
    for row, film in films_or_faults(rows, as_seen=as_seen):
        if isinstance(film, CohortError):
            faults.append(Fault.of(film, "unreadable"))
            continue
        account.add(Passed.of(film, scaling))
        faults += _unscaled(film, scaling, row.path)
        yield _Look(row, _thumb(film))


def _unscaled(film: RawFilm, scaling: Scaling | None, path: Path) -> Iterator[Fault]:
    if film.as_seen and scaling is None:
        return
    try:
        scaled(film, scaling)
    except CohortError as error:
        yield Fault("values", f"{path}: {error.what}", error.closest, error.remedy)


def _thumb(film: RawFilm) -> Values:
    """[THUMB * THUMB] grey, mean 0, norm 1; zeros for a film of a single value."""
    grey = scaled(film, Scaling(by="minmax"))
    grey = grey if grey.ndim == 2 else grey.mean(2)
    small = Image.fromarray(grey).resize((THUMB, THUMB), Image.Resampling.BOX)
    flat = np.asarray(small, dtype=np.float32).ravel()
    flat = flat - flat.mean()
    norm = float(np.linalg.norm(flat))
    return np.asarray(flat / norm if norm > 1e-4 else np.zeros_like(flat), dtype=np.float32)


def _blank(count: int, films: int, path: Path) -> Fault:
    return Fault(
        "blank",
        f"{count} of {films} images in {path} are a single grey value",
        "at most half may be",
        "check that the files are the films the network was trained on",
    )


def _twins(rows: Sequence[Row], prints: Sequence[bytes]) -> int:
    owners: dict[bytes, set[str]] = {}
    for row, content in zip(rows, prints, strict=True):
        owners.setdefault(content, set()).add(row.patient)
    return sum(bool(content) and len(owners[content]) > 1 for content in prints)


def _partly(decoded: int, films: int, faults: Sequence[Fault]) -> tuple[str, ...]:
    unread = sum(fault.kind == "unreadable" for fault in faults)
    if decoded + unread >= films:
        return ()
    return (f"{decoded} of {films} films were decoded, of the others only headers and file ends",)
