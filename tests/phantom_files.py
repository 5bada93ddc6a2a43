"""A folder of phantom films with its manifest, as a hospital would give them."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image

from reid_audit.demo.phantom import draw_films


def write_phantom(folder: Path, patients: int, *, side: int = 32, seed: int, films: tuple[int, int] = (1, 4)) -> Path:
    """Write the films of ``phantom_cohort`` as 8-bit PNG with a manifest.csv; return the manifest's path."""
    images, index, people = draw_films(patients, side=side, seed=seed, films=films)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "patient_id", "age", "sex"])
        for number, (pixels, i) in enumerate(zip(images, index.tolist(), strict=True)):
            name = f"images/{seed}_{number:05d}.png"
            Image.fromarray(pixels).save(folder / name)
            writer.writerow([name, f"phantom{seed}-{i:05d}", int(people.age[i]), "F" if people.female[i] else "M"])
    return manifest
