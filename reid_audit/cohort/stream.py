"""Reads the raw films of a source's rows: each file is opened once, and one film is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.read import floats_beyond_unit, read_raw, unreadable
from reid_audit.cohort.source import Row
from reid_audit.errors import CohortError


def raw_films(rows: Sequence[Row], *, as_seen: bool) -> Iterator[RawFilm]:
    """The rows' films in the rows' order. Raises the CohortError of the first file that cannot be read."""
    for _, film in films_or_faults(rows, as_seen=as_seen):
        if isinstance(film, CohortError):
            raise film
        yield film


def films_or_faults(rows: Sequence[Row], *, as_seen: bool) -> Iterator[tuple[Row, RawFilm | CohortError]]:
    """Each row with its film, in the rows' order (films of one file stand together, in the file's order).

    A file that cannot be read gives one CohortError, with the first row that has no film; its other rows are passed
    over. as_seen: whether the source's float arrays are what the network saw.
    """
    for (path, axes), group in groupby(rows, key=lambda row: (row.path, row.axes)):
        wanted = {row.film: row for row in group}
        try:
            for number, film in enumerate(read_raw(path, axes)):
                if number in wanted:
                    yield wanted.pop(number), replace(film, as_seen=as_seen) if film.kind == "float" else film
            if wanted:
                raise unreadable(path, f"it has no film {min(wanted) + 1}")
        except CohortError as error:
            yield wanted[min(wanted)], error


def stored_as_seen(rows: Sequence[Row]) -> bool:
    """Whether the source's float arrays were stored exactly as the network saw them: some value is outside [0, 1].

    Decided once for the whole source: a single dark film may happen to lie in [0, 1].
    """
    return any(floats_beyond_unit(path) for path in sorted({row.path for row in rows}))
