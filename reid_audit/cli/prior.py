"""``reid-audit prior``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def prior() -> None:
    """Fit, train, describe and sample priors."""


@prior.command()
@click.argument("images")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--resolution", type=click.IntRange(8, 1024), default=64, show_default=True)
@click.option("--name", required=True, help="Name of the data set, declared in the file.")
@click.option("--licence", default="", help="Licence of the data set.")
@click.option("--public", is_flag=True, help="The films are public: perceptual hashes and ids may be written.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def fit(images: str, out: Path, resolution: int, name: str, licence: str, public: bool, seed: int) -> int:
    """Fit a full-rank Gaussian to IMAGES (folder, CSV, NPZ; filter with ?column=value). Seconds."""
    import torch

    from reid_audit.cohort import load_cohort, parse_source
    from reid_audit.prior.gaussian import fit_gaussian
    from reid_audit.prior.provenance import origin_of
    from reid_audit.records import PreprocessSpec

    path, where = parse_source(images)
    films = load_cohort(path, role="reference", spec=PreprocessSpec(), side=resolution, where=where)
    made = fit_gaussian(
        films.images,
        name=name,
        declared=(name,),
        licence=licence,
        patients=films.summary.patients,
        generator=torch.Generator().manual_seed(seed),
        origin=origin_of(films.images, films.patients.tolist(), public=public),
    )
    made.save(out, half=True)
    click.echo(f"wrote {out}: {made.card.images} films of {made.card.patients} patients at {resolution} px")
    return 0


@prior.command()
@click.argument("images")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for snapshots and prior.safetensors."
)
@click.option("--resolution", type=click.Choice(["32", "64", "128", "256"]), default="64", show_default=True)
@click.option("--name", required=True, help="Name of the data set, declared in the file.")
@click.option("--licence", default="", help="Licence of the data set.")
@click.option("--minutes", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Time budget.")
@click.option("--public", is_flag=True, help="The films are public: perceptual hashes and ids may be written.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the last snapshot in --out.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def train(
    images: str,
    out: Path,
    resolution: str,
    name: str,
    licence: str,
    minutes: float,
    public: bool,
    device: str,
    seed: int,
    resume: bool,
) -> int:
    """Train a PGGAN on IMAGES within the time given; the best snapshot is OUT/prior.safetensors."""
    import torch

    from reid_audit.budget import Meter
    from reid_audit.cohort import load_cohort, parse_source
    from reid_audit.console import ConsoleObserver, console_for
    from reid_audit.prior.provenance import origin_of
    from reid_audit.prior.training import train_pggan
    from reid_audit.records import PreprocessSpec

    path, where = parse_source(images)
    side = int(resolution)
    films = load_cohort(path, role="reference", spec=PreprocessSpec(), side=side, where=where)
    with ConsoleObserver(console_for(quiet=False)) as observer:
        made = train_pggan(
            films.images,
            films.patients.tolist(),
            resolution=side,
            name=name,
            declared=(name,),
            licence=licence,
            origin=origin_of(films.images, films.patients.tolist(), public=public),
            generator=torch.Generator().manual_seed(seed),
            meter=Meter(seconds=minutes * 60, steps=None),
            observer=observer,
            out=out,
            device=torch.device(device),
            resume=resume,
        )
    click.echo(f"wrote {out / 'prior.safetensors'}: {len(made.curve)} snapshots measured")
    return 0


@prior.command()
@click.argument("file", type=click.Path(path_type=Path))
def info(file: Path) -> int:
    """Describe the prior in FILE."""
    from reid_audit.prior.loading import load_prior

    card = load_prior(file).card
    for name, value in card.model_dump(mode="json").items():
        click.echo(f"{name:24} {value}")
    return 0


@prior.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="PNG to write.")
@click.option("--count", type=click.IntRange(1, 1024), default=64, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def sample(file: Path, out: Path, count: int, seed: int) -> int:
    """Draw a grid of images from the prior in FILE."""
    import torch

    from reid_audit.prior.loading import load_prior
    from reid_audit.prior.sampling import write_grid

    loaded = load_prior(file)
    with torch.no_grad():
        images = loaded.decode(loaded.sample_latents(count, torch.Generator().manual_seed(seed))).clamp(0.0, 1.0)
    write_grid(images, out)
    click.echo(f"wrote {out}: {count} samples of {loaded.card.id}")
    return 0
