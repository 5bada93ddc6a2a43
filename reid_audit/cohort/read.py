"""Reads the raw films of one file by its content, whatever the file is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reid_audit.cohort.arrays import beyond_unit, read_array, read_arrays
from reid_audit.cohort.dicom import Header, cut_short, read_dicom, read_header
from reid_audit.cohort.formats import ARRAYS, READABLE, Format, is_tiff, promised, sniff
from reid_audit.cohort.nifti import count_slices, read_nifti
from reid_audit.cohort.nifti import cut_short as nifti_cut_short
from reid_audit.cohort.pictures import count_pictures, ends_well, read_pictures
from reid_audit.cohort.raw import RawFilm
from reid_audit.errors import CohortError

_READERS: dict[Format, Callable[[Path], Iterator[RawFilm]]] = {
    Format.PICTURE: read_pictures,
    Format.NPY: read_arrays,
    Format.NPZ: read_arrays,
    Format.DICOM: read_dicom,
}


def read_raw(path: Path, axes: str = "") -> Iterator[RawFilm]:
    """The films of one file, in order: one of a picture, every frame of DICOM and TIFF, every film of NPY and NPZ,
    every slice of NIfTI, cut and turned into ``axes`` (nifti.py).

    What the file is, its content tells, not its name. Nothing is scaled: see ``render``. Raises CohortError naming a
    file that cannot be read.
    """
    with reading(path):
        format_ = _format(path)
        yield from read_nifti(path, axes) if format_ is Format.NIFTI else _READERS[format_](path)


def count_films(path: Path, axes: str = "") -> int:
    """How many films ``read_raw`` gives, from headers alone; 0 for DICOM without an image. Raises CohortError."""
    format_ = sniff(path)
    if format_ is Format.NIFTI:
        with reading(path):
            return count_slices(path, axes)
    if format_ is Format.DICOM:
        return dicom_header(path).frames
    if format_ not in ARRAYS and not is_tiff(path):
        return 1
    with reading(path):
        return len(read_array(path)) if format_ in ARRAYS else count_pictures(path)


def dicom_header(path: Path) -> Header:
    """What a DICOM file says before its pixels. Raises CohortError."""
    with reading(path):
        return read_header(path)


def floats_beyond_unit(path: Path) -> bool:
    """Whether ``path`` is an array of floats that are not all in [0, 1]. Raises CohortError."""
    if _format(path) not in ARRAYS:
        return False
    with reading(path):
        return beyond_unit(path)


def may_be_damaged(path: Path) -> bool:
    """Whether header or end of a file are not those of a whole one; only decoding it can then tell. Cheap."""
    try:
        format_ = sniff(path)
        if format_ is Format.DICOM:
            return cut_short(path)
        if format_ is Format.NIFTI:
            return nifti_cut_short(path)
        return format_ is None or (format_ is Format.PICTURE and not ends_well(path))
    except Exception:  # whatever a damaged header makes the readers raise
        return True


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a reader raises over a damaged file becomes the refusal that names it."""
    try:
        yield
    except CohortError:
        raise
    except Exception as error:  # the libraries raise dozens of kinds, none of them a verdict
        raise unreadable(path, str(error) or type(error).__name__) from error


def unreadable(path: Path, why: str) -> CohortError:
    """The refusal that names one file."""
    return CohortError(f"cannot read the image {path}", closest=why, remedy=f"repair or remove the file ({READABLE})")


def _format(path: Path) -> Format:
    try:
        found = sniff(path)
    except OSError as error:
        raise unreadable(path, str(error)) from error
    if found is None or found not in (*_READERS, Format.NIFTI):
        raise unreadable(path, _what_it_is(found, promised(path)))
    return found


def _what_it_is(found: Format | None, named: Format | None) -> str:
    if found is Format.VOLUME:
        return "a volume: export the slices the network was trained on, turned as in training, as PNG or NPY"
    return f"its content is no {named}" if named is not None else "its content is none of these"
