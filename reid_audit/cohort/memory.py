"""Images that a program holds, written as a source that every reader in this folder knows: a manifest and arrays.

One way in for files and for memory: what is checked, refused and drawn of a folder is checked, refused and drawn of
arrays, data sets and tables in the same way.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reid_audit.cohort.entries import ALIASES, alias
from reid_audit.cohort.findings import read_mark
from reid_audit.cohort.manifest import column, read_manifest
from reid_audit.errors import CohortError

MANIFEST = "manifest.csv"
LABEL = "label"
FINDING = "finding_"
"""With a number behind it the column of one of several findings."""
COLUMNS = ("patient_id", "age", "sex", LABEL)
IMAGE_KEYS = ("image", "img", "pixel_values", "x")
"""Where a data set whose items are dictionaries keeps its image."""
HOW = "give images [N, H, W] or [N, C, H, W] with C = 1 or 3, a data set of them, or a table with a column path"


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images with what is known of the patient behind each; None: nothing is known.

    images: an array or tensor [N, H, W] or [N, C, H, W] (C = 1 or 3; uint8, whole numbers, or floats), or any sequence
    of images [H, W], [C, H, W] or of PIL. patients, ages (years), sexes ("M", "F", "") and labels (what the network
    was trained to say: a word, a number, or [F] findings of 1, 0, -1 and NaN) have one entry for each image.
    """

    images: Any
    patients: Sequence[Any] | None = None
    ages: Sequence[Any] | None = None
    sexes: Sequence[Any] | None = None
    labels: Any | None = None

    def cells(self) -> Iterator[dict[str, str]]:
        """The columns that are given, image by image; raises CohortError where the lengths differ."""
        given = dict(zip(COLUMNS, (self.patients, self.ages, self.sexes, self.labels), strict=True))
        known = {name: list(values) for name, values in given.items() if values is not None}
        count = len(self.images)
        wrong = {name: len(values) for name, values in known.items() if len(values) != count}
        if wrong:
            raise CohortError(
                f"{count} images, but {', '.join(f'{number} entries of {name}' for name, number in wrong.items())}",
                closest="every image needs one entry in each column that is given",
                remedy="give columns of equal length",
            )
        labels = known.pop("label", None)
        for place in range(count):
            cells = {name: text_of(values[place]) for name, values in known.items()}
            yield cells if labels is None else cells | _label(labels[place])


def label_in(source: Path) -> str | None:
    """What ``--label`` has to name of a manifest that ``write_source`` wrote; None where nothing given fits."""
    header, lines = read_manifest(source)
    if LABEL in {column(name) for name in header}:
        return LABEL
    findings = [name for name in header if name.startswith(FINDING)]
    try:
        for line in lines:
            _ = [read_mark(line.cells[name]) for name in findings]
    except CohortError:
        return None  # several numbers, not findings
    return ",".join(findings if findings[1:] else (*findings, "")) or None


def write_source(given: Any, folder: Path) -> Path:
    """``given`` as a source below ``folder``, which is made: the path of its manifest. Ids and films are written to it.

    given: ``Images``, an array or tensor, a table (a data frame with a column of paths), or a sized data set whose
    items are images, (image, label) or dictionaries with an image and columns of a manifest; a label may be a vector of
    findings. Raises CohortError.
    """
    folder.mkdir(parents=True, mode=0o700)
    if hasattr(given, "columns") and hasattr(given, "to_dict"):
        return _write_table(given, folder)
    if isinstance(given, Images):
        return _write(zip(_each(given.images), given.cells(), strict=True), folder)
    if isinstance(given, np.ndarray | torch.Tensor):
        return _write(((image, {}) for image in _each(given)), folder)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        return _write((_item(given[place], place) for place in range(len(given))), folder)
    raise CohortError(f"images of type {type(given).__name__}", closest="it has no length and no items", remedy=HOW)


def text_of(value: Any) -> str:
    """A cell of a manifest: "" for None and NaN, whole numbers without a point."""
    value = value.item() if isinstance(value, np.generic | torch.Tensor) and value.ndim == 0 else value
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _each(images: Any) -> Iterator[Any]:
    """The images of an array or a sequence. Raises CohortError where a stack is no stack of images."""
    if isinstance(images, np.ndarray | torch.Tensor) and images.ndim not in (3, 4):
        raise CohortError(
            f"an array of shape {tuple(images.shape)}", closest="images are [N, H, W] or [N, C, H, W]", remedy=HOW
        )
    for place in range(len(images)):
        yield images[place]


def _item(item: Any, place: int) -> tuple[Any, dict[str, str]]:
    """An item of a data set as its image and its cells. Raises CohortError."""
    if isinstance(item, Mapping):
        key = next((name for name in IMAGE_KEYS if name in item), None)
        if key is None:
            raise CohortError(
                f"item {place} of the data set has no image",
                closest="keys " + ", ".join(map(str, list(item)[:8])),
                remedy=f"name it {' or '.join(IMAGE_KEYS)}",
            )
        scalars = {column(str(name)): value for name, value in item.items() if name != key and _scalar(value)}
        wanted = {what: alias(what, {name: name for name in scalars}) for what in COLUMNS[:-1]}
        cells = {what: text_of(scalars[name]) for what, name in wanted.items() if name is not None}
        return item[key], cells | _label(next((v for k, v in item.items() if column(str(k)) == LABEL), None))
    if isinstance(item, tuple | list) and len(item) >= 2:
        return item[0], _label(item[1])
    return item, {}


def _label(value: Any) -> dict[str, str]:
    """A label's cell, of a vector one for each of its numbers; nothing where it is neither."""
    if _scalar(value):
        return {LABEL: text_of(value)}
    if isinstance(value, list | tuple | np.ndarray | torch.Tensor) and np.ndim(value) == 1:
        return {f"{FINDING}{place}": text_of(each) for place, each in enumerate(value, start=1) if _scalar(each)}
    return {}


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) or (isinstance(value, np.generic | torch.Tensor) and value.ndim == 0)


def _write(items: Iterable[tuple[Any, dict[str, str]]], folder: Path) -> Path:
    """One array a film, and a manifest that names them."""
    rows: list[dict[str, str]] = []
    for place, (image, cells) in enumerate(items):
        name = f"{place:06d}.npy"
        np.save(folder / name, _pixels(image, place))
        rows.append({"path": name, **cells})
    if not rows:
        raise CohortError("no images", closest="an empty array or data set", remedy=HOW)
    return _manifest(folder, rows)


def _pixels(image: Any, place: int) -> NDArray[Any]:
    """[1 or 3, H, W] as ``read_array`` takes one film."""
    values = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    values = values.astype(np.uint8) * 255 if values.dtype == bool else values
    if values.ndim == 2:
        return values[None]
    if values.ndim == 3 and values.shape[0] not in (1, 3) and values.shape[2] in (1, 3):
        values = values.transpose(2, 0, 1)
    if values.ndim != 3 or values.shape[0] not in (1, 3):
        raise CohortError(
            f"image {place} has the shape {values.shape}", closest="[H, W], [C, H, W] or [H, W, C]", remedy=HOW
        )
    return np.ascontiguousarray(values)


def _write_table(table: Any, folder: Path) -> Path:
    """A data frame as a manifest; paths that are not absolute count from the working directory."""
    rows = [{str(key): text_of(value) for key, value in row.items()} for row in table.to_dict("records")]
    key = alias("path", {column(str(name)): str(name) for name in table.columns})
    if key is None:
        raise CohortError(
            "the table has no column for the image path",
            closest="columns " + ", ".join(str(name) for name in table.columns),
            remedy=f"name it {' or '.join(ALIASES['path'][:3])}",
        )
    return _manifest(folder, [row | {key: str(Path(row[key]).absolute())} for row in rows])


def _manifest(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / MANIFEST
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, restval="")
        table.writeheader()
        table.writerows(rows)
    return path
