"""What the commands that make something of films share: reading them, declaring them, and where the result goes."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from reid_audit.errors import PriorError
from reid_audit.records import PreprocessSpec, Record, Scaling

if TYPE_CHECKING:
    from reid_audit.artefacts.provenance import Declaration, Origin
    from reid_audit.cohort import Cohort


class FilmOptions(Record):
    """What every command is given that makes something of films; None: not given."""

    images: str
    """Folder, CSV, NPZ or NPY, with row filters after a question mark."""
    out: Path
    resolution: int
    """Pixels of the square images that are made of the films."""
    scaling: Scaling | None = None
    name: str | None = None
    licence: str = ""
    public: bool = False
    colour: bool = False
    seed: int = 0

    def declared(self, name: str, data_sets: tuple[str, ...], origin: Origin | None) -> Declaration:
        """What the file will say of itself."""
        from reid_audit.artefacts.provenance import Declaration

        return Declaration(name, data_sets, self.licence, origin)


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


def scaling(_: click.Context, __: click.Parameter, value: str | None) -> Scaling | None:
    """``--scaling`` as ``[preprocess] scaling`` writes it; a bare word needs no quotes."""
    if value is None:
        return None
    try:
        given = tomllib.loads(f"scaling = {value}")["scaling"]
    except tomllib.TOMLDecodeError:
        given = value
    try:
        return Scaling.model_validate(given)
    except ValidationError as error:
        known = "bits, window, minmax, '{ range = [0, 4095] }' or '{ percentiles = [1, 99] }'"
        raise click.BadParameter(f"{value!r} is not {known}") from error


SCALING = click.option(
    "--scaling", callback=scaling, help="How grey values become 0 to 1, as in [preprocess]; default: stored bits."
)

COLOUR = click.option("--colour/--grey", default=False, show_default=True, help="Three channels, or one.")


def read_films(options: FilmOptions) -> tuple[Cohort, str]:
    """Films to make a prior from, and the name and rows they are declared under."""
    from reid_audit.cohort import Frame, Source, load_cohort, parse_source

    path, where = parse_source(options.images)
    spec, channels = PreprocessSpec(scaling=options.scaling), 3 if options.colour else 1
    films = load_cohort(Source(path, where), Frame(spec, options.resolution, channels), "reference")
    for note in films.notes:
        click.echo(note, err=True)
    place = path.resolve()
    known = options.name or (place.name if place.is_dir() else place.parent.name)
    rows = ", ".join(f"{column}: {value}" for column, value in where.items())
    return films, f"{known} ({rows})" if rows else known


def origin_of_films(films: Cohort, *, public: bool) -> Origin:
    """What the prior will know of its films; ids only where somebody named the patients."""
    from reid_audit.artefacts.provenance import origin_of

    return origin_of(films.images, films.named_patients(), public=public)
