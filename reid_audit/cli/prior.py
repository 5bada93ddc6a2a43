"""``reid-audit prior``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
@click.argument("images")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--name", required=True, help="Name of the data set, declared in the file.")
@click.option("--holdout", help="Films of other patients on which age and sex readings are measured.")
@click.option("--resolution", type=click.IntRange(8, 64), default=64, show_default=True)
@click.option("--licence", default="", help="Licence of the data set.")
@click.option("--public", is_flag=True, help="The films are public: perceptual hashes and ids may be written.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def demographics(
    images: str, out: Path, name: str, holdout: str | None, resolution: int, licence: str, public: bool, seed: int
) -> int:
    """Fit an age and sex predictor to IMAGES, whose manifest tells ages and sexes. For 'check --demographics'."""
    import torch

    from reid_audit.cohort import Cohort, load_cohort, parse_source, require_disjoint
    from reid_audit.errors import CohortError
    from reid_audit.prior.provenance import origin_of
    from reid_audit.records import PreprocessSpec
    from reid_audit.score.predictor_file import save_predictors
    from reid_audit.score.predictors import FILMS, fit_predictors, measured_on

    def read(text: str, role: Literal["reference", "holdout"]) -> Cohort:
        path, where = parse_source(text)
        return load_cohort(path, role=role, spec=PreprocessSpec(), side=resolution, where=where)

    films = read(images, "reference")
    made = fit_predictors(
        films.images,
        films.ages,
        films.sexes,
        films.patients,
        torch.Generator().manual_seed(seed),
        name=out.stem,
        declared=(name,),
        licence=licence,
        origin=origin_of(films.images, films.patients.tolist(), public=public),
    )
    if made is None:
        raise CohortError(
            f"too few of {len(films.images)} films tell an age or a sex",
            closest=f"{FILMS} films with an age, of 5 patients; or {FILMS} with a sex, of 10 men and 10 women",
            remedy="give a manifest with the columns age and sex (M or F)",
        )
    if holdout is not None:
        others, where = read(holdout, "holdout"), parse_source(holdout)[1]
        require_disjoint(films, others)
        chosen = ", ".join(f"{column} {value}" for column, value in where.items()) or "not named"
        made = measured_on(made, f"other patients ({chosen})", others.images, others.ages, others.sexes)
    save_predictors(made, out, recipe=f"prior demographics, resolution {resolution}, seed {seed}")
    click.echo(f"wrote {out}: {made.card.images} films of {made.card.patients} patients at {made.card.side} px")
    return 0


@prior.command()
@click.argument("file", type=click.Path(path_type=Path))
def info(file: Path) -> int:
    """Describe the prior, or the age and sex predictor, in FILE."""
    from reid_audit.prior.loading import load_prior
    from reid_audit.prior.storage import read_prior_file
    from reid_audit.score.predictor_file import FORMAT, load_predictors

    ours = read_prior_file(file).metadata.get("format") == FORMAT
    card = load_predictors(file).card if ours else load_prior(file).card
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
