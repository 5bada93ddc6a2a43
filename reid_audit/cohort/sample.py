"""A few raw films of a source, drawn by what they show and not by what they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid_audit.cohort.arrays import read_array
from reid_audit.cohort.formats import ARRAYS, sniff
from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.read import reading
from reid_audit.cohort.reduced import reduced
from reid_audit.cohort.source import Row, Source, list_rows
from reid_audit.cohort.stream import raw_films, stored_as_seen

_PIECE = 4096
"""Bytes hashed at the beginning, the middle and the end of a file: films differ there, and large files stay cheap."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Raw films with their training labels."""

    films: tuple[RawFilm, ...]
    labels: NDArray[np.str_]
    """[N] "" where no column was named."""


def sample_pooled(
    sources: Sequence[Source], *, count: int, seed: int, edge: Callable[[int], int] | None = None
) -> Sample:
    """At most ``count`` films of all sources: one of each patient, then second ones where these are few.

    edge: from a film's place in the draw to the pixels that its shorter edge keeps at least; None: films at full size.

    The draw depends on the seed and on the films' contents; renaming files or patients, or listing them in another
    order, changes neither the films nor their order. It does not depend on which source a film is in either, so that
    what is fitted on it knows nothing of who is a member. Raises CohortError.
    """
    drawn: list[tuple[int, bytes, int, Row]] = []
    listings = [list_rows(source.path, source.where, label=source.label).rows for source in sources]
    for number, rows in enumerate(listings):
        lots = {
            row: hashlib.sha256(str(seed).encode() + b":" + content).digest()
            for row, content in zip(rows, fingerprints(rows), strict=True)
        }
        seen: dict[str, int] = {}
        for row in sorted(rows, key=lots.__getitem__):
            drawn.append((seen.setdefault(row.patient, 0), lots[row], number, row))
            seen[row.patient] += 1
    chosen = [(number, row) for _, _, number, row in sorted(drawn, key=lambda lot: lot[:2])[:count]]
    places = {row: place for place, row in enumerate(chosen)}
    films: dict[tuple[int, Row], RawFilm] = {}
    for number, rows in enumerate(listings):
        order = sorted((row for source, row in chosen if source == number), key=lambda row: (row.path, row.film))
        read = raw_films(order, as_seen=stored_as_seen(rows))
        for row, film in zip(order, read, strict=True):
            key = (number, row)
            films[key] = film if edge is None else reduced(film, edge(places[key]))
    return Sample(tuple(films[key] for key in chosen), np.array([row.label for _, row in chosen], dtype=np.str_))


def fingerprints(rows: Sequence[Row]) -> list[bytes]:
    """A digest of each film's content: whole for arrays, of size and three pieces for files. Raises CohortError."""
    prints: list[bytes] = []
    for path, group in groupby(rows, key=lambda row: row.path):
        with reading(path):
            stack = read_array(path) if sniff(path) in ARRAYS else None
            whole = b"" if stack is not None else _pieces(path)
        for row in group:
            content = whole + str(row.film).encode() if stack is None else stack[row.film].tobytes()
            prints.append(hashlib.sha256(content).digest())
    return prints


def _pieces(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        pieces = [str(size).encode()]
        for start in (0, max(0, size // 2 - _PIECE // 2), max(0, size - _PIECE)):
            file.seek(start)
            pieces.append(file.read(_PIECE))
    return b"".join(pieces)
