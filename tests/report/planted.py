"""Restricted evidence with planted films and patients, for tests that look for them where they must not be."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from reid_audit.report.evidence import DemographicRow, Evidence, GridCell, Pair, PatientScore

PATIENTS = ("00017234", "MUSTERMANN^ERIKA", "1.2.840.113619.2.55.3")


def film(seed: int, side: int = 64) -> np.ndarray:
    """A recognisable grey film: uint8 [side, side]."""
    ramp = np.linspace(30, 190, side)
    noise = np.random.default_rng(seed).normal(0, 12, (side, side))
    return np.clip(ramp[:, None] * 0.6 + ramp[None, ::-1] * 0.4 + noise, 0, 255).astype(np.uint8)


def png(image: np.ndarray, side: int | None = None, level: int = 6) -> bytes:
    """``image`` as PNG, scaled to ``side`` where given."""
    picture = Image.fromarray(image)
    if side is not None:
        picture = picture.resize((side, side))
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=level)
    return stream.getvalue()


def jpeg(image: np.ndarray, quality: int) -> bytes:
    """``image`` as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def evidence() -> Evidence:
    """Three pairs, three grid cells, a row of each table."""
    pairs = tuple(
        Pair(png(film(i)), png(film(i + 10)), 0.512 - 0.02 * i, 0.334 - 0.02 * i, f"r{i}", patient, i != 1)
        for i, patient in enumerate(PATIENTS)
    )
    grid = tuple(GridCell(png(film(20 + i)), png(film(30 + i)), "F", "M", 0.61, 0.98) for i in range(3))
    rows = (DemographicRow("r0", PATIENTS[0], 61.2, 59.0, 63, "F", "F", "F"), DemographicRow("r1", PATIENTS[1]))
    scores = (
        PatientScore(PATIENTS[1], False, 0.12, 0.6, 0.01),
        PatientScore(PATIENTS[0], True, 0.41, 0.003, 0.93, reidentified=True, membership_p=0.4),
    )
    return Evidence("4f9a1c" * 10 + "4f9a", "fail", pairs, grid, rows, scores)
