"""Make and measure the shipped priors on real films: ``python -m benchmarks.prior fit|train|ship|measure``."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import torch
from torch import Tensor

from benchmarks.lab.data import films
from benchmarks.lab.precision import precision_recall
from reid_audit.artefacts.provenance import Declaration, Origin, check_overlap, origin_of
from reid_audit.artefacts.storage import read_prior_file
from reid_audit.budget import Meter
from reid_audit.imaging.features import fit_features, frechet_distance, kernel_distance
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.prior.interface import Prior
from reid_audit.prior.loading import load_prior
from reid_audit.prior.memorisation import measure_memorisation
from reid_audit.prior.pggan import PgganPrior
from reid_audit.prior.resampling import ResampledPrior, prior_at
from reid_audit.prior.sampling import write_grid
from reid_audit.prior.training import PRIOR_FILE, Training, train_pggan

DATASET = "NIH ChestX-ray14"
LICENCE = "NIH Clinical Center: no restrictions on use; attribution in ATTRIBUTION.md"
SHIPPED = Path(__file__).resolve().parent.parent / "reid_audit" / "prior" / "data"


def declaration(name: str, images: Tensor, patients: list[str]) -> Declaration:
    """What a shipped prior says of itself: the data set is public, so hashes and ids may be in its file."""
    return Declaration(name, (f"{DATASET} (split: prior)",), LICENCE, origin_of(images, patients, public=True))


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
        declaration(f"gaussian-{side}-nih-cxr14", images, patients),
        torch.Generator().manual_seed(seed),
        patients=len(set(patients)),
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
@click.option("--start", type=click.Path(path_type=Path, exists=True), default=None)
def train(data: Path, out: Path, side: int, seed: int, minutes: float, resume: bool, start: Path | None) -> None:
    """Train a PGGAN into folder OUT, from new networks or those of START; ship it with the ``ship`` command."""
    begun = None if start is None else load_prior(start)
    if begun is not None and not isinstance(begun, PgganPrior):
        raise click.UsageError(f"{start} holds no PGGAN")
    images, patients = films(data, "prior", side)
    result = train_pggan(
        images,
        patients,
        declaration(f"pggan-{side}-nih-cxr14", images, patients),
        Training(
            out,
            Meter(seconds=60 * minutes, steps=None),
            device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            resume=resume,
        ),
        generator=torch.Generator().manual_seed(seed),
        start=begun,
    )
    for point in result.curve:
        print(point)


@main.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--side", default=64)
def ship(data: Path, run: Path, side: int) -> None:
    """Put the best snapshot of a training run into the package."""
    prior, metadata = load_prior(run / PRIOR_FILE), read_prior_file(run / PRIOR_FILE).metadata
    if not isinstance(prior, PgganPrior):
        raise click.UsageError(f"{run} holds no PGGAN")
    path = SHIPPED / f"pggan-{side}.safetensors"
    origin = origin_of(*films(data, "prior", side), public=True)
    replace(prior, origin=origin).save(path, recipe=metadata["recipe"], validation=metadata["validation"])
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {metadata['validation']}")


@main.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--side", default=64)
@click.option("--seed", default=0)
@click.option("--grid", type=click.Path(path_type=Path), default=None)
def measure(data: Path, side: int, seed: int, grid: Path | None) -> None:
    """FID, KID, precision, recall and memorisation of the shipped priors, beside the floor of real films."""
    training, people = films(data, "prior", side)
    held_out, others = films(data, "holdout", side)
    generator = torch.Generator().manual_seed(seed)
    priors = {path.stem: prior_at(load_prior(path), side) for path in sorted(SHIPPED.glob("*.safetensors"))}
    drawn = {"films of the prior split": training[torch.randperm(len(training), generator=generator)[: len(held_out)]]}
    for name, prior in priors.items():
        latents = prior.sample_latents(len(held_out), generator)
        with torch.no_grad():
            drawn[name] = torch.cat([prior.decode(part) for part in torch.split(latents, 64)]).clamp(0, 1)
    spaces = [fit_features(training, kind) for kind in ("wavelet", "pca")]
    print(f"n = {len(held_out)} on both sides, {side} px\n")
    print("| images against holdout films | wavelet FID | wavelet KID | precision | recall | pca FID | pca KID |")
    print("|---|---|---|---|---|---|---|")
    for name, images in drawn.items():
        wavelet, pca = ((space(images), space(held_out)) for space in spaces)
        precision, recall = precision_recall(wavelet[1], wavelet[0])
        print(
            f"| {name} | {frechet_distance(*wavelet):.2f} | {kernel_distance(*wavelet):.3f} | {precision:.2f} |"
            f" {recall:.2f} | {frechet_distance(*pca):.2f} | {kernel_distance(*pca):.3f} |"
        )
    for name, prior in priors.items():
        found = measure_memorisation(prior, training, people, held_out, others, generator=generator)
        print(f"\n{name}: {found}\n{name}: {check_overlap(origin_in(prior), held_out, others)}")
    if grid:
        write_grid(torch.cat([drawn[name][:32] for name in sorted(priors, reverse=True)]), grid, columns=16)


def origin_in(prior: Prior) -> Origin | None:
    """What the prior's file says of the films it was made from."""
    inner = prior.inner if isinstance(prior, ResampledPrior) else prior
    return inner.origin if isinstance(inner, GaussianPrior | PgganPrior) else None


if __name__ == "__main__":
    sys.exit(main())
