"""What the commands that make something of films share: reading them, declaring them, and where the result goes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit.errors import PriorError

if TYPE_CHECKING:
    from reid_audit.artefacts.provenance import Origin
    from reid_audit.cohort import Cohort


def writable(*files: Path) -> None:
    """Raise PriorError where a file cannot be written: said before the work, not after it."""
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir():
                raise IsADirectoryError(f"{file} is a folder")
            with tempfile.TemporaryFile(dir=file.parent):
                pass
        except OSError as error:
            raise PriorError(
                f"{file} cannot be written",
                closest=str(error),
                remedy="give --out a file in a folder that can be written",
            ) from error


def read_films(images: str, side: int, name: str | None) -> tuple[Cohort, str]:
    """Films to make a prior from, and the name and rows they are declared under."""
    from reid_audit.cohort import load_cohort, parse_source
    from reid_audit.records import PreprocessSpec

    path, where = parse_source(images)
    films = load_cohort(path, role="reference", spec=PreprocessSpec(), side=side, where=where)
    for note in films.notes:
        click.echo(note, err=True)
    place = path.resolve()
    known = name or (place.name if place.is_dir() else place.parent.name)
    rows = ", ".join(f"{column}: {value}" for column, value in where.items())
    return films, f"{known} ({rows})" if rows else known


def origin_of_films(films: Cohort, *, public: bool) -> Origin:
    """What the prior will know of its films; ids only where somebody named the patients."""
    from reid_audit.artefacts.provenance import origin_of

    return origin_of(films.images, films.named_patients(), public=public)
