"""A folder, a manifest, an archive or one file -> its films with the cells that describe them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from reid_audit.cohort.cells import names_nobody, read_age
from reid_audit.cohort.dicom import Header
from reid_audit.cohort.faults import Fault
from reid_audit.cohort.folder import FILTERED, NO_IMAGE, UNNAMED, walk
from reid_audit.cohort.formats import ARRAYS, Format, promised, sniff
from reid_audit.cohort.manifest import Line, column, exists, located, read_manifest, similar
from reid_audit.cohort.nifti import read_axes
from reid_audit.cohort.read import count_films, dicom_header, reading, unreadable
from reid_audit.cohort.sexes import DEFINED, column_of, read_sex
from reid_audit.cohort.tabletext import is_table
from reid_audit.errors import CohortError

# fmt: off
ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img_path",
        "image_index", "image_name", "image_id", "imageid",
    ),
    "patient_id": ("patient_id", "patientid", "patient", "subject_id", "subjectid", "subject"),
    "age": ("age", "age_years", "patient_age", "patientage", "age_approx"),
    "sex": (
        "sex", "gender", "patient_sex", "patientsex", "patient_gender", "patientsex_dicom",
        "geschlecht", "sexe", "sexo", "sesso", "geslacht",
    ),
    "frame": ("frame", "frame_number"),
    "axes": ("axes", "axcodes"),
}
# fmt: on
HEADERS_ALIKE = "the DICOM headers name one patient for all files, so they are taken to name nobody"
HEADERS_WANTING = "not every DICOM header names a patient, so none of them is used"
HEADERS_USED = "patients, ages and sexes are those of the DICOM headers"
HEADERS_UNREAD = "ages or sexes in DICOM headers that cannot be read count as unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """One film of a source before its cells are read."""

    path: Path
    film: int
    """Its place inside the file, from 0."""
    name: str
    """The film's id where nobody names a patient; frames of one file share it."""
    where: str
    """How a refusal refers to this entry."""
    cells: Mapping[str, str]
    axes: str = ""
    """How slices of a volume are cut and turned (nifti.py)."""


@dataclass(frozen=True, slots=True)
class Entries:
    """All films of a source, what was left out of it, and what is wrong with it."""

    films: tuple[Entry, ...]
    left_out: Counter[str] = field(default_factory=Counter)
    """Files by the reason why they hold no film."""
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    """What was decided about the source, in fixed wordings."""
    unread: tuple[Mapping[str, str], ...] = ()
    """Cells of the rows whose films cannot be read: they still say who is meant."""
    sexes: frozenset[str] = frozenset()
    """What the column of sexes holds, in rows outside the filter too (``column_of``), and the letters of DICOM where
    headers tell it: the meaning of a letter follows from it."""


Choice = Callable[[Sequence[Mapping[str, str]]], list[bool]]
"""Which of a source's films, by their cells, belong to the cohort; raises CohortError where none does."""


def entries_of(source: Path, choice: Choice) -> Entries:
    """The films of a folder (searched recursively; a manifest.csv inside is used), a CSV, an array or an image file.

    Of a manifest only the files of chosen rows are looked at.
    Raises CohortError where the source as a whole cannot be used; what single rows and files get wrong are faults.
    """
    if source.is_dir():
        manifest = source / "manifest.csv"
        return _below(source, _manifest(manifest, choice)) if manifest.is_file() else _folder(source, choice)
    if is_table(source):
        return _manifest(source, choice)
    if promised(source) is None and sniff(source) is None:
        raise CohortError(
            f"{source} is neither images nor a manifest",
            closest=f"the ending {source.suffix or '(none)'}",
            remedy="give a folder, or a .csv, .npz, .npy or image file",
        )
    return _files([source], source.parent, Counter(), choice)


def alias(what: str, columns: Mapping[str, str]) -> str | None:
    """The column, as written, that holds ``what``."""
    return next((columns[name] for name in ALIASES[what] if name in columns), None)


def _folder(folder: Path, choice: Choice) -> Entries:
    files, left_out = walk(folder)
    return _files(files, folder, left_out, choice)


def _files(files: Iterable[Path], root: Path, left_out: Counter[str], choice: Choice) -> Entries:
    films: list[Entry] = []
    faults: list[Fault] = []
    headers: list[Header | None] = []
    for path in files:
        try:
            found, header = _film_entries(path, path.relative_to(root).as_posix())
        except CohortError as error:
            faults.append(Fault.of(error, "unreadable"))
            continue
        if not found:
            left_out[NO_IMAGE] += 1
        films += found
        headers += [header] * len(found)
    described, notes = _described(films, headers)
    chosen = choice([film.cells for film in described]) if described else []
    kept = tuple(film for film, wanted in zip(described, chosen, strict=True) if wanted)
    left_out = _with(left_out, FILTERED, len(described) - len(kept))
    known = DEFINED if HEADERS_USED in notes else frozenset()
    return Entries(kept, left_out, tuple(faults), notes, sexes=_sexes([film.cells for film in described]) | known)


def _sexes(rows: Sequence[Mapping[str, str]]) -> frozenset[str]:
    key = alias("sex", {column(name): name for name in rows[0]}) if rows else None
    return frozenset() if key is None else column_of(cells.get(key, "") for cells in rows)


def _with(left_out: Counter[str], why: str, count: int) -> Counter[str]:
    return left_out + Counter({why: count})


def _film_entries(path: Path, name: str) -> tuple[list[Entry], Header | None]:
    """One entry a film: the frames of a file are of one patient, the films of an array each of their own."""
    format_ = sniff(path)
    header = dicom_header(path) if format_ is Format.DICOM else None
    count = count_films(path) if header is None else header.frames
    if format_ not in ARRAYS:
        return [Entry(path, i, name, _place(path, i, count), {}) for i in range(count)], header
    cells = _archive_cells(path, count) if format_ is Format.NPZ else [{} for _ in range(count)]
    names = [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]
    return [Entry(path, i, names[i], _place(path, i, count), cells[i]) for i in range(count)], None


def _place(path: Path, film: int, count: int) -> str:
    return str(path) if count == 1 else f"{path} film {film + 1}"


def _described(films: list[Entry], headers: list[Header | None]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Cells from the DICOM headers, where all films are DICOM and the headers tell patients apart."""
    known = [header for header in headers if header is not None]
    if not known or len(known) < len(films):
        return tuple(films), ()
    people = {"" if names_nobody(header.patient) else header.patient for header in known}
    if "" in people:
        return tuple(films), (HEADERS_WANTING,) if len(people) > 1 else ()
    if len(people) == 1 and len({film.path for film in films}) > 1:
        return tuple(films), (HEADERS_ALIKE,)
    sexes = column_of(header.sex for header in known) | DEFINED
    cells, unread = [], False
    for header in known:
        age, sex = _if_read(read_age, header.age), _if_read(lambda text: read_sex(text, sexes), header.sex)
        unread |= (age, sex) != (header.age, header.sex)
        cells.append({"patient_id": header.patient, "age": age, "sex": read_sex(sex, sexes)})
    described = tuple(replace(film, cells=own) for film, own in zip(films, cells, strict=True))
    return described, (HEADERS_USED, HEADERS_UNREAD) if unread else (HEADERS_USED,)


def _if_read(reader: Callable[[str], object], text: str) -> str:
    """A header's age or sex, unknown where it cannot be read: nobody can correct a header as one corrects a table."""
    try:
        reader(text)
    except CohortError:
        return ""
    return text


def _archive_cells(path: Path, count: int) -> list[dict[str, str]]:
    """Every one-dimensional array beside ``images`` is a column."""
    with reading(path), np.load(path, allow_pickle=False) as archive:
        columns: dict[str, Any] = {key: archive[key] for key in archive.files if key != "images"}
    for key, values in columns.items():
        if values.shape != (count,):
            raise unreadable(path, f"array {key} has shape {values.shape}, the films are {count}")
    return [{key: _cell(values[i]) for key, values in columns.items()} for i in range(count)]


def _cell(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "" if text == "nan" else text


def _manifest(path: Path, choice: Choice) -> Entries:
    header, lines = read_manifest(path)
    columns = {column(name): name for name in header}
    key = alias("path", columns)
    if key is None:
        raise CohortError(
            f"{path} has no column for the image path",
            closest="columns " + ", ".join(header),
            remedy="name the column path",
        )
    films: list[Entry] = []
    faults: list[Fault] = []
    unread: list[Mapping[str, str]] = []
    chosen = choice([line.cells for line in lines]) if lines else []
    for line in (line for line, wanted in zip(lines, chosen, strict=True) if wanted):
        found = _line_entries(path, line, columns)
        if isinstance(found, Fault):
            faults.append(found)
            unread.append(line.cells)
        else:
            films += found
    left_out = _with(Counter(), FILTERED, len(lines) - sum(chosen))
    sexes = _sexes([line.cells for line in lines])
    return Entries(tuple(films), left_out, tuple(faults), unread=tuple(unread), sexes=sexes)


def _line_entries(manifest: Path, line: Line, columns: Mapping[str, str]) -> list[Entry] | Fault:
    where = f"row {line.number} of {manifest.name}"
    written, frame, axes = (line.cells.get(alias(what, columns) or "", "") for what in ("path", "frame", "axes"))
    if line.beyond:
        return Fault(
            "cells",
            f"{where} has more cells than the header",
            "a delimiter inside a cell moves all cells behind it",
            "put cells that hold the delimiter in quotes",
        )
    place = located(manifest.parent, written)
    if not written or not exists(place):
        what = f"{where} names {written[:200] or 'no image'}, which does not exist"
        remedy = f"paths are relative to {manifest.parent}; correct or remove the row"
        return Fault("missing", what, similar(place), remedy)
    try:
        axes = read_axes(axes, where)
        count = _count(place, axes)
        chosen = range(count) if not frame or count == 1 else [_frame(frame, count, where)]
    except CohortError as error:
        return Fault.of(error, "unreadable")
    return [Entry(place, i, written, where, line.cells, axes) for i in chosen]


def _count(path: Path, axes: str) -> int:
    """Films of a file a row names. A file that is no film at all is counted as one: reading it says what it is."""
    format_ = sniff(path)
    if format_ is Format.DICOM:
        frames = dicom_header(path).frames
        if not frames:
            raise unreadable(path, "a DICOM file without an image")
        return frames
    return 1 if format_ is None else count_films(path, axes)


def _frame(text: str, count: int, where: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= count:
        raise CohortError(
            f"{where} names frame {text}",
            closest=f"the file has {count} frames, the first is 1",
            remedy="correct the cell, or leave it empty for all frames",
        )
    return number - 1


def _below(folder: Path, entries: Entries) -> Entries:
    """The entries of a folder's manifest, with a count of the images that no row used here names."""
    named = {entry.path.resolve() for entry in entries.films}
    images = 0
    for place, _, files in os.walk(folder):
        paths = [Path(place) / name for name in files if promised(Path(name)) is not None]
        images += sum(not path.name.startswith(".") and path.resolve() not in named for path in paths)
    return replace(entries, left_out=_with(entries.left_out, UNNAMED, max(0, images - entries.left_out[FILTERED])))
