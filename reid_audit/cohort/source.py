"""Lists the films of a folder, a manifest or an archive as rows with patient, age, sex and stratum."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from reid_audit.cohort.cells import names_nobody, read_age, spelling, was_rounded
from reid_audit.cohort.entries import ALIASES, Entry, alias, entries_of
from reid_audit.cohort.faults import Fault, Kind, refusal
from reid_audit.cohort.findings import BLANK, columns_named, read_mark, word_of
from reid_audit.cohort.formats import IMAGE_SUFFIXES, Format, promised, sniff
from reid_audit.cohort.manifest import column, similar
from reid_audit.cohort.sexes import M_ALONE, only_m, read_sex
from reid_audit.errors import CohortError

V = TypeVar("V")
SLICES = (
    "NIfTI is cut and turned by its affine as viewers show it; a column axes says how training did (stored: not at all)"
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the films of one cohort are, and what its manifest says of them."""

    path: Path
    """Folder, CSV, NPZ, NPY or one image (see ``list_rows``)."""
    where: Mapping[str, str] | None = None
    """Filters: only rows with these values in these columns."""
    strata: tuple[str, ...] = ()
    """Columns that the tests are stratified by."""
    label: str | None = None
    """The column that the network was trained on, for the loss; or columns of findings, joined by commas."""


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
    """What the network was trained to say, "" where no column is named; of several columns as ``findings`` writes."""
    axes: str = ""
    """How slices of a volume are cut and turned, "" as viewers show them (nifti.py)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All films of a source, grouped by file."""

    source: str
    """As it was given: a path."""
    rows: tuple[Row, ...]
    known_patients: bool
    """False where no patient ids were given: every file is its own patient."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many files or rows hold no film of this cohort, by the reason."""
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    """What was decided about the source, in fixed wordings."""
    unread: tuple[str, ...] = ()
    """Patients as rows name them whose films cannot be read."""


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


def list_rows(
    source: Path, where: Mapping[str, str] | None = None, strata: tuple[str, ...] = (), label: str | None = None
) -> Listing:
    """Every film of ``source`` that passes the filters.

    source: a folder (searched recursively; a manifest.csv inside is used), a CSV, an NPZ or NPY file, or one image.
    where: column -> value, several values joined by commas. label: the column of the training labels, or of findings
    that have a column each their names joined by commas (``columns_named``).
    Raises one CohortError for everything that rows and files get wrong.
    """
    listing = collect(source, where, strata, label)
    if listing.faults:
        raise refusal(listing.faults, str(source))
    return listing


def collect(
    source: Path, where: Mapping[str, str] | None = None, strata: tuple[str, ...] = (), label: str | None = None
) -> Listing:
    """As ``list_rows``, but what rows and files get wrong is listed instead of raised.

    A film whose file or patient cannot be read has no row, an age or a sex that cannot be read is unknown in it.

    Raises CohortError where the source as a whole cannot be used: no films, no such column, no row left.
    """
    if not source.exists():
        raise CohortError(f"{source} does not exist", closest=similar(source), remedy="give a folder, CSV, NPZ or NPY")
    found = entries_of(source, lambda cells: _chosen(cells, where or {}, source))
    if not found.films:
        raise refusal(found.faults, str(source)) if found.faults else _no_images(source, found.left_out)
    columns = {column(key): key for key in found.films[0].cells}
    apart = label is not None and "," in label and column(label) not in columns
    named = columns_named(label or "") if apart else () if label is None else (label,)
    reader = _Reader(
        names={what: alias(what, columns) for what in ALIASES},
        strata=tuple(_require(name, columns, source) for name in strata),
        labels=tuple(dict.fromkeys(_require(name, columns, source) for name in named)),
        apart=apart,
        sexes=found.sexes,
    )
    faults = [*found.faults, *_repeated(found.films), *_spelt_twice(found.films, reader.names["patient_id"])]
    rows = [row for entry in found.films if (row := reader.row(entry, faults)) is not None]
    key = reader.names["patient_id"]
    unread = tuple(cells[key].strip() for cells in found.unread) if key is not None else ()
    notes = (*found.notes, *_turned(rows), *((M_ALONE,) if only_m(found.sexes) else ()))
    return Listing(str(source), tuple(rows), key is not None, found.left_out, tuple(faults), notes, unread)


def _turned(rows: Sequence[Row]) -> tuple[str, ...]:
    """A line where slices are turned as viewers show them and nobody said so."""
    unsaid = {row.path for row in rows if not row.axes and promised(row.path) is Format.NIFTI}
    return (SLICES,) if any(sniff(path) is Format.NIFTI for path in unsaid) else ()


def _no_images(source: Path, left_out: Counter[str]) -> CohortError:
    others = ", ".join(f"{count} {why}" for why, count in left_out.most_common())
    return CohortError(
        f"{source} holds no images",
        closest=others or "looked for " + ", ".join(suffix.lstrip(".") for suffix in IMAGE_SUFFIXES),
        remedy="give the folder that holds the films, or a manifest.csv",
    )


def _chosen(films: Sequence[Mapping[str, str]], where: Mapping[str, str], source: Path) -> list[bool]:
    """Which films have the wanted values; raises CohortError where there is no such column or no film is left."""
    columns = {column(key): key for key in films[0]}
    kept = [True] * len(films)
    for name, wanted in where.items():
        key = _require(name, columns, source)
        accepted = {value.strip().casefold() for value in wanted.split(",")}
        present = Counter(cells[key] for cells, left in zip(films, kept, strict=True) if left)
        kept = [left and cells[key].casefold() in accepted for cells, left in zip(films, kept, strict=True)]
        if not any(kept):
            raise CohortError(
                f"no row of {source} has {name}={wanted}",
                closest="values " + ", ".join(value or "(empty)" for value, _ in present.most_common(8)),
                remedy="use a value that occurs in the column",
            )
    return kept


def _repeated(entries: Sequence[Entry]) -> Iterator[Fault]:
    first: dict[tuple[Path, int, str], str] = {}
    for entry in entries:
        place = (entry.path.resolve(), entry.film, entry.axes)
        if place in first:
            what, closest = f"{entry.where} repeats {entry.name}", f"first named in {first[place]}"
            yield Fault("repeated", what, closest, "name every film once")
        first.setdefault(place, entry.where)


def _spelt_twice(entries: Sequence[Entry], key: str | None) -> Iterator[Fault]:
    """Ids that differ in spelling alone: whether they are one patient the table does not say."""
    first: dict[str, Entry] = {}
    reported: set[str] = set()
    for entry in entries if key is not None else ():
        written = entry.cells[key or ""]
        other = first.setdefault(spelling(written), entry)
        if other.cells[key or ""] != written and written not in reported:
            reported.add(written)
            yield Fault(
                "patient",
                f"{entry.where} writes a patient id in another way than {other.where}",
                "ids are text: 7, 7.0 and 0007 would be three patients, p7 and P7 two",
                "write each patient in one way; where they are different people, put a letter before one of them",
            )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns cells into rows; what it cannot read becomes a fault."""

    names: Mapping[str, str | None]
    strata: tuple[str, ...]
    labels: tuple[str, ...]
    apart: bool
    """Whether the labels are findings that have a column each."""
    sexes: frozenset[str]
    """What the column of sexes holds."""

    def row(self, entry: Entry, faults: list[Fault]) -> Row | None:
        """The entry's row, None where its patient is at fault."""
        wrong = list(_id_faults(self._cell(entry, "patient_id"), entry.where)) if self.names["patient_id"] else []
        faults += wrong
        age = self._read(read_age, entry, "age", math.nan, faults)
        sex = self._read(lambda text: read_sex(text, self.sexes), entry, "sex", "", faults)
        if wrong:
            return None
        return Row(
            path=entry.path,
            film=entry.film,
            patient=self._cell(entry, "patient_id") or entry.name,
            age=age,
            sex=sex,
            stratum="|".join(f"{column(name)}={entry.cells[name]}" for name in self.strata),
            label=self._label(entry, faults),
            axes=entry.axes,
        )

    def _label(self, entry: Entry, faults: list[Fault]) -> str:
        if not self.apart:
            return "".join(entry.cells[name].strip() for name in self.labels)
        marks = dict.fromkeys(self.labels, BLANK)
        for name in self.labels:
            try:
                marks[name] = read_mark(entry.cells[name])
            except CohortError as error:
                what = f"{entry.where} has {error.what} in the column {name}"
                faults.append(Fault("finding", what, error.closest, error.remedy))
        return word_of(marks)

    def _cell(self, entry: Entry, what: str) -> str:
        key = self.names[what]
        return "" if key is None else entry.cells[key].strip()

    def _read(self, reader: Callable[[str], V], entry: Entry, what: Kind, instead: V, faults: list[Fault]) -> V:
        try:
            return reader(self._cell(entry, what))
        except CohortError as error:
            fault = Fault(what, f"{entry.where} has {error.what}", error.closest, error.remedy)
            faults += [] if fault in faults[-1:] else [fault]  # the frames of a file share their row
            return instead


def _id_faults(text: str, where: str) -> Iterator[Fault]:
    if names_nobody(text):
        yield Fault(
            "patient",
            f"{where} has no patient id" + (f" but {text}" if text else ""),
            "other rows have one",
            "fill the cell, or remove the whole column: every film is then its own patient",
        )
    elif was_rounded(text):
        yield Fault(
            "patient",
            f"{where} has the patient id {text}, which a spreadsheet has rounded",
            "different patients may have become one",
            "export the table again with the ids as text",
        )


def _require(name: str, columns: Mapping[str, str], source: Path) -> str:
    if column(name) not in columns:
        raise CohortError(
            f"{source} has no column {name}",
            closest="columns " + ", ".join(columns.values()) if columns else "there is no manifest, so no columns",
            remedy="name a column of the manifest",
        )
    return columns[column(name)]
