"""Damaged files of every format end in a film or in a refusal, never in another exception."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from film_writers import WAYS, Film, dicom, smooth_film, widened
from PIL import Image

from reid_audit.cohort import Source, read_raw, scaled, survey
from reid_audit.cohort.read import count_films, may_be_damaged
from reid_audit.errors import CohortError

nibabel: Any = pytest.importorskip("nibabel", reason="nibabel is not here")
MUTANTS = 25


def picture(kind: str) -> Callable[[Path, Film], None]:
    return lambda path, film: Image.fromarray(film).save(path, format=kind)


def array(path: Path, film: Film) -> None:
    with path.open("wb") as file:
        np.save(file, film)


def archive(path: Path, film: Film) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, images=film[None], age=np.array([1.0]))


def frames(path: Path, film: Film) -> None:
    dicom(path, np.stack([widened(film, 12)] * 3), 12)


def volume(path: Path, film: Film, *, packed: bool = False) -> None:
    image = nibabel.Nifti1Image(np.stack([film] * 3, axis=2), np.diag([-1, -1, 3, 1]))
    path.write_bytes(gzip.compress(image.to_bytes(), 1) if packed else image.to_bytes())


WRITERS: dict[str, Callable[[Path, Film], object]] = {
    **{kind: picture(kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "JPEG2000", "GIF")},
    "npy": array,
    "npz": archive,
    "frames": frames,
    "nifti": volume,
    "packed nifti": partial(volume, packed=True),
    **{way: WAYS[way] for way in ("12 bit", "rle", "jpeg 2000", "jpeg-ls", "jpeg lossless", "negative slope")},
}


def mutant(data: bytes, rng: random.Random) -> bytes:
    """``data`` with a few bytes changed, added or gone, most of them in its header."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        place = rng.randrange(min(len(changed), 700) if rng.random() < 0.7 else len(changed))
        what = rng.random()
        if what < 0.6:
            changed[place] = rng.randrange(256)
        elif what < 0.75:
            changed = changed[: max(place, 1)]
        else:
            changed[place : place + rng.choice((0, 3))] = rng.randbytes(rng.randrange(6)) or b"\0"
    return bytes(changed)


@pytest.mark.parametrize("kind", WRITERS)
def test_damage_ends_in_a_film_or_a_refusal(tmp_path: Path, kind: str) -> None:
    path, rng = tmp_path / "film", random.Random(kind)
    WRITERS[kind](path, smooth_film(1))
    whole = path.read_bytes()
    assert not may_be_damaged(path)
    for _ in range(MUTANTS):
        path.write_bytes(mutant(whole, rng))
        may_be_damaged(path)
        for look in (count_films, lambda path: [scaled(film, None) for film in read_raw(path)]):
            try:
                look(path)
            except CohortError as error:
                assert all(error.lines())  # noqa: PT017
        survey(Source(path), role="reference")
