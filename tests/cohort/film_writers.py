"""Films for the tests of this folder; how they are stored, ``benchmarks/stored_films.py`` knows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks.stored_films import WAYS, Film, dicom, widened

pytest.importorskip("pydicom", reason="pydicom is not here")
__all__ = ["WAYS", "Film", "dicom", "smooth_film", "widened"]


def smooth_film(seed: int, height: int = 48, width: int = 40) -> Film:
    """[height, width] blobs from black to white, no two seeds alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
