"""Make and measure the shipped priors on real films: ``python benchmarks/prior.py fit|train|measure --data FOLDER``."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reid_audit.budget import Meter
from reid_audit.prior.gaussian import fit_gaussian
from reid_audit.prior.training import train_pggan

DATASET = "NIH ChestX-ray14"
LICENCE = "NIH Clinical Center: no restrictions on use; attribution in ATTRIBUTION.md"
SHIPPED = Path(__file__).resolve().parent.parent / "reid_audit" / "prior" / "data"


def films(data: Path, split: str, side: int) -> tuple[Tensor, list[str]]:
    """Films of one split, [N, 1, side, side] in [0, 1], and their patient ids."""
    with (data / "manifest.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == split]
    pixels = [np.asarray(_read(data / row["path"], side), dtype=np.float32) / 255 for row in rows]
    return torch.from_numpy(np.stack(pixels)).unsqueeze(1), [row["patient_id"] for row in rows]


def _read(path: Path, side: int) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("L").resize((side, side), Image.Resampling.BILINEAR)


@click.group()
def main() -> None:
    """Make and measure the shipped priors."""
    torch.set_num_threads(1)


@main.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--side", default=64)
@click.option("--seed", default=0)
def fit(data: Path, side: int, seed: int) -> None:
    """Fit and ship the Gaussian."""
    images, patients = films(data, "prior", side)
    started = time.perf_counter()
    prior = fit_gaussian(
        images,
        name=f"gaussian-{side}-nih-cxr14",
        declared=(f"{DATASET} (split: prior)",),
        licence=LICENCE,
        patients=len(set(patients)),
        generator=torch.Generator().manual_seed(seed),
        form="pca",
    )
    path = SHIPPED / f"gaussian-{side}.safetensors"
    prior.save(path, half=True, recipe=f"fit_gaussian(form='pca', augment=8, seed={seed})")
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB in {time.perf_counter() - started:.1f} s")


@main.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--side", default=64)
@click.option("--seed", default=0)
@click.option("--minutes", default=40.0)
@click.option("--resume", is_flag=True)
def train(data: Path, out: Path, side: int, seed: int, minutes: float, resume: bool) -> None:
    """Train a PGGAN into folder OUT; ship it with the ``ship`` command."""
    images, patients = films(data, "prior", side)
    result = train_pggan(
        images,
        patients,
        resolution=side,
        name=f"pggan-{side}-nih-cxr14",
        declared=(f"{DATASET} (split: prior)",),
        licence=LICENCE,
        generator=torch.Generator().manual_seed(seed),
        meter=Meter(seconds=60 * minutes, steps=None),
        out=out,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        resume=resume,
    )
    for point in result.curve:
        print(point)


if __name__ == "__main__":
    sys.exit(main())
