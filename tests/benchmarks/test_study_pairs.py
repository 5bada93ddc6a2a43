"""The public pictures of pairs: a row for each way, the reconstruction left of the film."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from benchmarks.study_pairs import CAPTION, EDGE, GAP, SHOWN, TITLES, drawn
from reid_audit.report.evidence import Pair


def grey(level: int) -> bytes:
    held = io.BytesIO()
    Image.new("L", (64, 64), level).save(held, "PNG")
    return held.getvalue()


def test_a_reconstruction_stands_left_of_its_film_and_each_way_has_a_row() -> None:
    rows = [
        [Pair(grey(10 * row + 40), grey(10 * row + 140), 0.5, 0.4, "R0", "phantom", True) for _ in range(SHOWN)]
        for row in range(len(TITLES))
    ]
    sheet = np.asarray(drawn(rows))
    for row in range(len(TITLES)):
        middle = row * (EDGE + 2 * CAPTION) + CAPTION + EDGE // 2
        for column in range(SHOWN):
            left = GAP + column * (2 * EDGE + GAP) + EDGE // 2
            assert (sheet[middle, left], sheet[middle, left + EDGE]) == (10 * row + 40, 10 * row + 140)
