"""Reads CSV files as hospitals write them into columns and rows."""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reid_audit.cohort.formats import IMAGE_SUFFIXES
from reid_audit.cohort.tabletext import table_text
from reid_audit.errors import CohortError

_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a manifest."""

    number: int
    """As a spreadsheet counts: the header is row 1, blank rows count."""
    cells: Mapping[str, str]
    """Column as written -> cell, without the white space around it."""
    beyond: bool
    """Whether there is text in more cells than the header names."""


def read_manifest(path: Path) -> tuple[tuple[str, ...], list[Line]]:
    """The header and the rows of a CSV file.

    Encoded as ``table_text`` reads; comma, semicolon, tab or bar, as a first line ``sep=;`` or else the header tells;
    blank rows are passed over, cells may hold quoted line breaks. Raises CohortError.
    """
    text, delimiter = _without_mark(table_text(path))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header: tuple[str, ...] = ()
    lines: list[Line] = []
    for number, row in enumerate(_rows(reader, path), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if not header:
            header = tuple(cells)
            _refuse_twins(header, path)
            continue
        padded = cells + [""] * (len(header) - len(cells))
        named = {name: cell for name, cell in zip(header, padded, strict=False) if name}
        lines.append(Line(number, named, any(cells[len(header) :])))
    return tuple(name for name in header if name), lines


def located(folder: Path, written: str) -> Path:
    """The file a row names, below ``folder``: as written, with Windows' backslashes, with composed letters, or with the
    ending of an image where the table leaves it out and one such file is there.

    Where none of these exists, the path as written.
    """
    slashed = written.replace("\\", "/")
    for candidate in (written, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))):
        if exists(folder / candidate):
            return folder / candidate
    ended = [folder / f"{slashed}{ending}" for ending in (*IMAGE_SUFFIXES, ".nii.gz") if slashed]
    there = [place for place in ended if exists(place)]
    return there[0] if len(there) == 1 else folder / written


def exists(place: Path) -> bool:
    """Whether ``place`` is a file; False for names that no file can have."""
    try:
        return place.is_file()
    except (OSError, ValueError):
        return False


def similar(path: Path) -> str:
    """What is called most like ``path``, in words."""
    try:
        known = path.parent.is_dir()
    except (OSError, ValueError):
        known = False
    if not known:
        return f"the folder {str(path.parent)[:200]} does not exist either"
    names = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    return f"{path.parent / names[0]}" if names else f"nothing similar in {path.parent}"


def _without_mark(text: str) -> tuple[str, str]:
    """The text without a spreadsheet's ``sep=`` line, and the delimiter."""
    first, _, rest = text.lstrip("\r\n").partition("\n")
    mark = first.strip().strip('"')
    if mark.casefold().startswith("sep=") and len(mark) == 5:
        return rest, mark[4]
    if mark.casefold() == "sep=":  # the delimiter is the tab that was stripped
        return rest, "\t"
    bare = "".join(first.split('"')[::2])
    return text, max(_DELIMITERS, key=bare.count)


def _rows(reader: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise CohortError(
            f"line {getattr(reader, 'line_num', 0)} of {path} cannot be read",
            closest=str(error),
            remedy="save the manifest as UTF-8 CSV, one row per film",
        ) from None


def column(name: str) -> str:
    """A column's name without the differences that do not matter: case, spaces, hyphens."""
    return "_".join(name.strip().casefold().replace("-", " ").split())


def _refuse_twins(header: tuple[str, ...], path: Path) -> None:
    """Two columns of one name are refused, also where they differ in what does not matter: one would be read and the
    other not, without a word."""
    names: dict[str, list[str]] = {}
    for name in filter(None, header):
        names.setdefault(column(name), []).append(name)
    twins = next((written for written in names.values() if len(written) > 1), [])
    if twins:
        raise CohortError(
            f"{path} has several columns {' and '.join(dict.fromkeys(twins))}",
            closest="columns " + ", ".join(header),
            remedy="name every column once; case, spaces and hyphens make no difference",
        )
