"""Rows of a source -> their raw films, each file opened once and one film in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.read import floats_beyond_unit, read_raw, unreadable
from reid_audit.cohort.source import Row


def raw_films(rows: Sequence[Row], *, as_seen: bool) -> Iterator[tuple[Path, RawFilm]]:
    """The rows' films with their files, in the rows' order (films of one file stand together, in the file's order).

    as_seen: whether the source's float arrays are what the network saw. Raises CohortError.
    """
    for path, group in groupby(rows, key=lambda row: row.path):
        wanted = {row.film for row in group}
        for number, film in enumerate(read_raw(path)):
            if number in wanted:
                wanted.remove(number)
                yield path, replace(film, as_seen=as_seen) if film.kind == "float" else film
        if wanted:
            raise unreadable(path, f"it has no film {min(wanted) + 1}")


def stored_as_seen(rows: Sequence[Row]) -> bool:
    """Whether the source's float arrays were stored exactly as the network saw them: some value is outside [0, 1].

    Decided once for the whole source: a single dark film may happen to lie in [0, 1].
    """
    return any(floats_beyond_unit(path) for path in sorted({row.path for row in rows}))
