"""A folder -> the files that hold films, and how many others there are and why they hold none."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from reid_audit.cohort.formats import promised, sniff
from reid_audit.errors import CohortError

_TABLES = (".csv", ".tsv", ".txt", ".md", ".json", ".xml", ".html", ".htm", ".pdf", ".xls", ".xlsx", ".yaml", ".yml")
_PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ")
HIDDEN, TABLE, PACKED, BROKEN, OTHER = (
    "hidden files",
    "tables and texts",
    "packed archives",
    "broken links",
    "files that hold no image",
)
NO_IMAGE = "DICOM files without an image"
UNNAMED = "images that the manifest does not name"
FILTERED = "rows outside the filter"


def walk(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Every file below ``folder`` that holds films or is called as if it did, sorted; and the others by reason.

    Links to folders are followed, once each. A folder that cannot be opened raises CohortError.
    """
    films: list[Path] = []
    left_out: Counter[str] = Counter()
    visited: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        for name in files:
            path = Path(place) / name
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            why = HIDDEN if hidden else _why_not(path)
            if why is None:
                films.append(path)
            else:
                left_out[why] += 1
    return sorted(films), left_out


def _why_not(path: Path) -> str | None:
    """Why ``path`` holds no film; None where it does or should."""
    if not path.exists():
        return BROKEN
    if not path.is_file():
        return OTHER
    try:
        found = sniff(path)
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise _unopened(path, error) from error
    if found is not None or promised(path) is not None:
        return None
    if path.suffix.casefold() in _TABLES:
        return TABLE
    return PACKED if head.startswith(_PACKED) else OTHER


def _refuse(error: OSError) -> None:
    raise _unopened(Path(str(error.filename)), error)


def _unopened(path: Path, error: OSError) -> CohortError:
    return CohortError(
        f"cannot open {path}",
        closest=error.strerror or str(error),
        remedy="allow reading it, or move it out of the folder: what cannot be opened cannot be counted",
    )
