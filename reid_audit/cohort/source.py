"""Where films come from: a folder, a manifest, an archive -> rows with patient, age, sex and stratum."""

from __future__ import annotations

import csv
import difflib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from reid_audit.cohort.formats import ARRAYS, IMAGE_SUFFIXES, Format, promised, sniff
from reid_audit.cohort.read import count_films, may_hold_several, unreadable
from reid_audit.errors import CohortError

ALIASES: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "image_index"),
    "patient_id": ("patient_id", "patientid", "patient", "subject_id", "subjectid", "subject"),
    "age": ("age", "age_years", "patient_age", "patientage"),
    "sex": ("sex", "gender", "patient_sex", "patientsex", "patient_gender"),
}
_SEXES = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F"}
_NO_SEX = ("", "u", "unknown", "o", "other", "x", "n/a", "na", "nan", "none")
_OLDEST = 130.0


@dataclass(frozen=True, slots=True)
class Row:
    """One film to be read."""

    path: Path
    film: int
    """Its place inside the file (0 unless the file is a stack)."""
    patient: str
    age: float
    sex: str
    stratum: str
    label: str
    """What the network was trained to say, "" where no column is named."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All films of a source, grouped by file."""

    rows: tuple[Row, ...]
    known_patients: bool
    """False where no patient ids were given: every film is its own patient."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    film: int
    name: str
    """The film's id where nobody names a patient."""
    where: str
    """How a refusal refers to this entry."""
    cells: Mapping[str, str]


def parse_source(text: str) -> tuple[Path, dict[str, str]]:
    """``manifest.csv?split=holdout&view=PA`` -> its path and row filters; a plain path has none."""
    path, mark, query = text.partition("?")
    if not mark or Path(text).exists():
        return Path(text), {}
    pairs = [part.split("=", 1) for part in query.split("&")]
    if not path or any(len(pair) != 2 or not pair[0] for pair in pairs):
        raise CohortError(
            f"cannot read the filter in {text}",
            closest="manifest.csv?split=holdout",
            remedy="write column=value after the question mark, joined by &",
        )
    return Path(path), dict(pairs)


def foresee(
    source: Path, where: Mapping[str, str] | None = None, strata: tuple[str, ...] = (), label: str | None = None
) -> None:
    """Refuse before an attack what ``list_rows`` would refuse after it, without opening a film.

    Arrays are films: where the source holds some, only its existence is asked. Raises CohortError.
    """
    if not any(promised(path) in ARRAYS for path in _named_files(source)):
        list_rows(source, where, strata, label)


def _named_files(source: Path) -> Iterator[Path]:
    """Files that the source consists of as far as their names tell; none where it does not exist."""
    if not source.is_dir():
        return iter([source] if source.exists() else [])
    return iter([]) if (source / "manifest.csv").is_file() else source.rglob("*")


def list_rows(
    source: Path, where: Mapping[str, str] | None = None, strata: tuple[str, ...] = (), label: str | None = None
) -> Listing:
    """Every film of ``source`` that passes the filters.

    source: a folder (searched recursively; a manifest.csv inside is used), a CSV, an NPZ or NPY file, or one image.
    where: column -> value, several values joined by commas. label: the column of the training labels.
    Raises CohortError for everything a row can get wrong.
    """
    if not source.exists():
        raise CohortError(f"{source} does not exist", closest=_similar(source), remedy="give a folder, CSV, NPZ or NPY")
    entries = _entries(source)
    if not entries:
        raise CohortError(
            f"{source} holds no images",
            closest="looked for " + ", ".join(suffix.lstrip(".") for suffix in IMAGE_SUFFIXES),
            remedy="give the folder that holds the films, or a manifest.csv",
        )
    columns = {_column(key): key for key in entries[0].cells}
    kept = _filter(entries, where or {}, columns, source)
    for name in (*strata, *(() if label is None else (label,))):
        _require(name, columns, source)
    _refuse_duplicates(kept)
    names = {field: _alias(field, columns) for field in ALIASES}
    taught = None if label is None else columns[_column(label)]
    rows = tuple(_row(entry, names, tuple(columns[_column(name)] for name in strata), taught) for entry in kept)
    return Listing(rows=rows, known_patients=names["patient_id"] is not None)


def _entries(source: Path) -> list[_Entry]:
    if source.is_dir():
        if (source / "manifest.csv").is_file():
            return _manifest(source / "manifest.csv")
        files = sorted(p for p in source.rglob("*") if p.is_file())
        shown = [p for p in files if not any(part.startswith(".") for part in p.relative_to(source).parts)]
        films = [p for p in shown if promised(p) or sniff(p)]
        return [entry for p in films for entry in _file(p, p.relative_to(source).with_suffix("").as_posix())]
    if source.suffix.lower() == ".csv":
        return _manifest(source)
    if promised(source) or sniff(source):
        return _file(source, source.stem)
    raise CohortError(
        f"{source} is neither images nor a manifest",
        closest=f"the ending {source.suffix or '(none)'}",
        remedy="give a folder, or a .csv, .npz, .npy or image file",
    )


def _file(path: Path, name: str) -> list[_Entry]:
    """One entry a film: the frames of a file are of one patient, the films of an array each of their own."""
    if promised(path) is None and sniff(path) is None:
        raise unreadable(path, "its content is none of these")
    array = promised(path) in ARRAYS or sniff(path) in ARRAYS
    count = count_films(path) if array or may_hold_several(path) else 1
    cells = _archive_cells(path, count) if sniff(path) is Format.NPZ else [{} for _ in range(count)]
    names = [name] if count == 1 or not array else [f"{name}[{i}]" for i in range(count)]
    return [_Entry(path, i, names[i % len(names)], f"{path} film {i}", cells[i]) for i in range(count)]


def _archive_cells(path: Path, count: int) -> list[dict[str, str]]:
    """Every one-dimensional array beside ``images`` is a column."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns: dict[str, Any] = {key: archive[key] for key in archive.files if key != "images"}
    except (OSError, ValueError, BadZipFile) as error:
        raise unreadable(path, str(error) or type(error).__name__) from error
    for key, column in columns.items():
        if column.shape != (count,):
            raise unreadable(path, f"array {key} has shape {column.shape}, the films are {count}")
    return [{key: _cell(column[i]) for key, column in columns.items()} for i in range(count)]


def _cell(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else str(value)
    return "" if text == "nan" else text


def _manifest(path: Path) -> list[_Entry]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CohortError(f"cannot read {path}", closest=str(error), remedy="save the manifest as UTF-8 CSV") from error
    header = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=header.count))
    columns = {_column(key): key for key in reader.fieldnames or ()}
    key = _alias("path", columns)
    if key is None:
        raise CohortError(
            f"{path} has no column for the image path",
            closest="columns " + ", ".join(columns.values()),
            remedy="name the column path",
        )
    entries: list[_Entry] = []
    for number, record in enumerate(_records(reader, path), start=2):
        cells = {name: (value or "").strip() for name, value in record.items() if isinstance(name, str)}
        place = path.parent / cells[key]
        where = f"row {number} of {path.name}"
        if not cells[key] or not _exists(place):
            raise CohortError(
                f"{where} names {cells[key][:200] or 'no image'}, which does not exist",
                closest=_similar(place),
                remedy=f"paths are relative to {path.parent}; correct or remove the row",
            )
        entries.append(_Entry(place, 0, cells[key], where, cells))
    return entries


def _records(reader: csv.DictReader[str], path: Path) -> list[dict[str, str]]:
    try:
        return list(reader)
    except csv.Error as error:
        raise CohortError(
            f"line {reader.line_num} of {path} cannot be read",
            closest=str(error),
            remedy="save the manifest as UTF-8 CSV, one row per film",
        ) from None


def _exists(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:  # a name that no file can have
        return False


def _filter(entries: list[_Entry], where: Mapping[str, str], columns: dict[str, str], source: Path) -> list[_Entry]:
    kept = entries
    for name, wanted in where.items():
        key = _require(name, columns, source)
        accepted = {value.strip().casefold() for value in wanted.split(",")}
        present = Counter(entry.cells[key] for entry in kept)
        kept = [entry for entry in kept if entry.cells[key].casefold() in accepted]
        if not kept:
            raise CohortError(
                f"no row of {source} has {name}={wanted}",
                closest="values " + ", ".join(value or "(empty)" for value, _ in present.most_common(8)),
                remedy="use a value that occurs in the column",
            )
    return kept


def _refuse_duplicates(entries: list[_Entry]) -> None:
    first: dict[tuple[Path, int], str] = {}
    for entry in entries:
        place = (entry.path.resolve(), entry.film)
        if place in first:
            raise CohortError(
                f"{entry.where} repeats {entry.name}",
                closest=f"first named in {first[place]}",
                remedy="name every film once",
            )
        first[place] = entry.where


def _row(entry: _Entry, names: Mapping[str, str | None], strata: tuple[str, ...], label: str | None) -> Row:
    def cell(field: str) -> str:
        key = names[field]
        return "" if key is None else entry.cells[key].strip()

    if names["patient_id"] is not None and not cell("patient_id"):
        raise CohortError(
            f"{entry.where} has no patient id",
            closest="other rows have one",
            remedy="fill the cell, or remove the whole column: every film is then its own patient",
        )
    return Row(
        path=entry.path,
        film=entry.film,
        patient=cell("patient_id") or entry.name,
        age=_age(cell("age"), entry.where),
        sex=_sex(cell("sex"), entry.where),
        stratum="|".join(f"{_column(name)}={entry.cells[name]}" for name in strata),
        label="" if label is None else entry.cells[label].strip(),
    )


def _age(text: str, where: str) -> float:
    if not text or text.casefold() in ("nan", "na", "n/a", "unknown", "none"):
        return math.nan
    try:
        age = float(text[:-1] if text[-1] in "Yy" else text)
    except ValueError:
        age = math.inf
    if not 0.0 <= age <= _OLDEST:
        raise CohortError(
            f"{where} has the age {text}",
            closest="ages are numbers of years, 0 to 130 (058Y is read too)",
            remedy="correct the cell, or leave it empty where the age is unknown",
        )
    return age


def _sex(text: str, where: str) -> str:
    word = text.casefold()
    if word in _NO_SEX:
        return ""
    if word not in _SEXES:
        raise CohortError(
            f"{where} has the sex {text}",
            closest="M, F, male, female, or an empty cell",
            remedy="rewrite the column with M and F",
        )
    return _SEXES[word]


def _column(name: str) -> str:
    return "_".join(name.strip().casefold().replace("-", " ").split())


def _alias(field: str, columns: Mapping[str, str]) -> str | None:
    return next((columns[alias] for alias in ALIASES[field] if alias in columns), None)


def _require(name: str, columns: Mapping[str, str], source: Path) -> str:
    if _column(name) not in columns:
        raise CohortError(
            f"{source} has no column {name}",
            closest="columns " + ", ".join(columns.values()) if columns else "there is no manifest, so no columns",
            remedy="name a column of the manifest",
        )
    return columns[_column(name)]


def _similar(path: Path) -> str:
    try:
        known = path.parent.is_dir()
    except OSError:
        known = False
    if not known:
        return f"the folder {str(path.parent)[:200]} does not exist either"
    names = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    return f"{path.parent / names[0]}" if names else f"nothing similar in {path.parent}"
