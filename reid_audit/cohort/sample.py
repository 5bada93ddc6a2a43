"""A few raw films of a source, drawn by what they show and not by what they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from reid_audit.cohort.arrays import read_array
from reid_audit.cohort.formats import ARRAYS, sniff
from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.read import reading
from reid_audit.cohort.source import Row, list_rows
from reid_audit.cohort.stream import raw_films, stored_as_seen

_PIECE = 4096
"""Bytes hashed at the beginning, the middle and the end of a file: films differ there, and large files stay cheap."""


def sample_raw(path: Path, *, where: Mapping[str, str] | None = None, count: int, seed: int) -> tuple[RawFilm, ...]:
    """At most ``count`` films of a source at full size: one of each patient, then second ones where patients are few.

    path, where: as for ``load_cohort``. The draw depends on the seed and on the files' contents; renaming files or
    patients, or listing them in another order, changes neither the films nor their order. Raises CohortError.
    """
    rows = list_rows(path, where).rows
    lots = {
        row: hashlib.sha256(str(seed).encode() + b":" + content).digest()
        for row, content in zip(rows, fingerprints(rows), strict=True)
    }
    seen: dict[str, int] = {}
    rounds: list[tuple[int, bytes, Row]] = []
    for row in sorted(rows, key=lots.__getitem__):
        rounds.append((seen.setdefault(row.patient, 0), lots[row], row))
        seen[row.patient] += 1
    chosen = [row for _, _, row in sorted(rounds, key=lambda drawn: drawn[:2])[:count]]
    order = sorted(chosen, key=lambda row: (row.path, row.film))
    films = dict(zip(order, raw_films(order, as_seen=stored_as_seen(rows)), strict=True))
    return tuple(films[row] for row in chosen)


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
