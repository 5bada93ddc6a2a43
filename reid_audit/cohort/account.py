"""What was read, what was left out and how grey values were scaled: for the report, and as lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.render import applied
from reid_audit.cohort.source import Listing
from reid_audit.records import GreyValues, LeftOut, Scaling

Grey = tuple[str, int, Scaling | None, bool]
"""kind, bits, scaling rendered, declared: what ``GreyValues`` counts."""


def grey_of(film: RawFilm, declared: Scaling | None) -> Grey:
    """How ``film`` is scaled when ``declared`` is."""
    if film.as_seen and declared is None:
        return film.kind, film.bits, None, False
    used = applied(film, declared)
    return film.kind, film.bits, used, used == declared


def tally(greys: Counter[Grey]) -> tuple[GreyValues, ...]:
    """The counts as records, the most frequent first."""
    ordered = sorted(greys.items(), key=lambda item: (-item[1], str(item[0])))
    return tuple(
        GreyValues(kind=kind, bits=bits, scaling=scaling, declared=declared, films=films)  # type: ignore[arg-type]
        for (kind, bits, scaling, declared), films in ordered
    )


def left_out(counts: Counter[str]) -> tuple[LeftOut, ...]:
    """Reasons and counts, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(LeftOut(why=why, count=count) for why, count in ordered)


def notes(listing: Listing, greys: Sequence[GreyValues]) -> tuple[str, ...]:
    """What somebody should know who gave this source: one line each, no names of files or patients."""
    films, files = len(listing.rows), len({row.path for row in listing.rows})
    others = ", ".join(f"{one.count} {one.why}" for one in left_out(listing.left_out))
    told = [f"{films} films read from {files} files; left out: {others}"] if others else []
    told += listing.notes
    if not listing.known_patients:
        people = len({row.patient for row in listing.rows})
        what = "films" if people == films else "files"
        told.append(f"no patient ids: each of {people} {what} counts as its own patient")
    told += [f"{grey.in_words()}; [preprocess] scaling is not declared" for grey in greys if grey.guessed]
    return tuple(told)
