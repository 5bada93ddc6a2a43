"""Small folders of films with planted faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def film(seed: int) -> np.ndarray:
    """A picture of its own: [32, 32] uint8."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (6, 6)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC))


def side(folder: Path, patients: range, *, rows: tuple[str, ...] = (), label: bool = False) -> Path:
    """A manifest of one film for each patient ``P0007``, and more rows as they are."""
    folder.mkdir(parents=True)
    lines = ["path,patient_id,age,sex" + (",finding" if label else "")]
    for number in patients:
        Image.fromarray(film(number)).save(folder / f"film{number}.png")
        lines.append(f"film{number}.png,P{number:04d},50,F" + (f",{'ab'[number % 2]}" if label else ""))
    (folder / "manifest.csv").write_text("\n".join((*lines, *rows)) + "\n")
    return folder


def corrupt(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
