"""The table of a sweep: a CSV with a row for each checkpoint, read whole, with everything that is wrong at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_audit.checkpoint.folder import PUBLISHED
from reid_audit.cohort import parse_source
from reid_audit.cohort.manifest import Line, read_manifest, similar
from reid_audit.errors import CohortError, PolicyError
from reid_audit.origins.fetch import is_remote

CHECKPOINT, NAME, SEED = "checkpoint", "name", "seed"
FILES, FILMS = (CHECKPOINT, "base"), ("reference", "holdout")
"""Columns of paths; one that is relative begins at the folder of the table."""
SHOWN = 8
"""Faults that a refusal names; the others are counted."""
Reader = Callable[[str], object]
"""A cell -> the value of an option. Raises ValueError, with what is wrong as its text."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One audit that the table asks for."""

    row: int
    """As a spreadsheet counts: the header is row 1."""
    name: str
    """What it is called in the summary and among folders; with the seed it is the only one of that name."""
    seed: int
    checkpoint: str
    options: Mapping[str, object]
    """Options of ``check`` that this row states for itself."""


def read_table(path: Path, readers: Mapping[str, Reader], seeds: Sequence[int]) -> tuple[Entry, ...]:
    """Every audit of the table at ``path``: a row's own seed, or one for each of ``seeds``.

    readers: column -> what reads its cells; an empty cell states nothing. Raises one PolicyError for everything wrong.
    """
    try:
        header, lines = read_manifest(path)
    except CohortError as error:
        raise PolicyError(
            error.what, closest=error.closest, remedy="give a CSV file, one row for each checkpoint"
        ) from error
    known = (CHECKPOINT, NAME, *readers)
    faults = [*_strangers(header, known)]
    if CHECKPOINT not in header:
        faults.insert(0, f"there is no column {CHECKPOINT}")
    elif not lines:
        faults.append("there is no row below the header")
    entries: list[Entry] = []
    if not faults:
        for line in lines:
            entries += _entries(path.parent, line, readers, seeds, faults)
        faults += _twins(entries)
    if faults:
        raise _refusal(path, faults, known)
    return tuple(entries)


def _strangers(header: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    for name in header:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"no column is called {name}" + (f" ({near[0]}?)" if near else "")


def _entries(
    folder: Path, line: Line, readers: Mapping[str, Reader], seeds: Sequence[int], faults: list[str]
) -> list[Entry]:
    """The audits of one row; none where something is wrong with it."""
    where, before = f"row {line.number}", len(faults)
    if line.beyond:
        faults.append(f"{where} has more cells than the header")
    checkpoint = line.cells[CHECKPOINT]
    try:
        located = _placed(folder, CHECKPOINT, checkpoint)
    except ValueError as error:
        faults.append(f"{where}: {error}")
    stated: dict[str, object] = {}
    for column, read in readers.items():
        text = line.cells.get(column, "")
        try:
            if text:
                stated[column] = read(_placed(folder, column, text))
        except ValueError as error:
            faults.append(f"{where}, {column}: {error}")
    named = line.cells.get(NAME, "")
    if named and named != slug(named):
        faults.append(f"{where}: a name has letters, digits, '.', '_' and '-' alone, not {named}")
    if len(faults) > before:
        return []
    own = stated.pop(SEED, None)
    chosen = seeds if own is None else (int(str(own)),)
    name = named or slug(_unsuffixed(Path(checkpoint).name if Path(checkpoint).is_absolute() else checkpoint))
    return [Entry(line.number, name, seed, located, stated) for seed in chosen]


def _placed(folder: Path, column: str, text: str) -> str:
    """``text``, from the folder of the table on where it is a relative path. Raises ValueError where it is not."""
    if column not in (*FILES, *FILMS) or (column in FILES and is_remote(text)):
        return text
    if not text:
        raise ValueError("the checkpoint is missing")
    try:
        path, filters = (Path(text), {}) if column in FILES else parse_source(text)
    except CohortError as error:
        raise ValueError(error.what) from error
    place = folder / path
    if not place.exists():
        raise ValueError(f"{path} does not exist (closest: {similar(place)})")
    return str(place) + ("?" + "&".join(f"{name}={value}" for name, value in filters.items()) if filters else "")


def _unsuffixed(path: str) -> str:
    """``path`` without the ending of a file of weights."""
    return path.removesuffix(next((ending for ending in PUBLISHED if path.endswith(ending)), ""))


def slug(text: str) -> str:
    """``text`` as part of a file's name: ``folds/a.b`` becomes ``folds-a.b``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:100] or "checkpoint"


def _twins(entries: Sequence[Entry]) -> Iterator[str]:
    """Audits that would lie in one folder, on file systems too that do not tell capitals apart."""
    first: dict[tuple[str, int], Entry] = {}
    for entry in entries:
        other = first.setdefault((entry.name.casefold(), entry.seed), entry)
        if other is not entry:
            yield (
                f"row {entry.row} and row {other.row} are both called {entry.name}, with seed {entry.seed}: "
                f"tell them apart in a column {NAME}"
            )


def _refusal(path: Path, faults: Sequence[str], known: Sequence[str]) -> PolicyError:
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    count = "" if len(faults) == 1 else f"{len(faults)} faults: "
    return PolicyError(
        f"{path}: {count}{'; '.join(faults[:SHOWN])}{more}",
        closest=f"columns that are known: {', '.join(known)}; nothing was audited",
        remedy=f"correct the table; paths in it are relative to {path.parent}",
    )
