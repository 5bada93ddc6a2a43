"""``reid-audit prior``: make priors. ``prior_show`` describes and draws them."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from reid_audit.cli.computing import Computing
from reid_audit.cli.given import given_as
from reid_audit.cli.options import duration
from reid_audit.cli.prior_demographics import demographics
from reid_audit.cli.prior_films import COLOUR, SCALING, FilmOptions, origin_of_films, read_films, writable
from reid_audit.cli.prior_show import info, sample
from reid_audit.errors import PriorError, RunStateError

if TYPE_CHECKING:
    from reid_audit.artefacts.provenance import Origin
    from reid_audit.prior.pggan import PgganPrior

DEFAULT_SECONDS = 3600.0


class TrainOptions(FilmOptions):
    """Everything given to one ``prior train``; None: not given."""

    budget: float | None = None
    """Seconds."""
    steps: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    start: Path | None = None
    resume: bool = False
    quiet: bool = False


@click.group()
def prior() -> None:
    """Fit, train, describe and sample priors."""


prior.add_command(info)
prior.add_command(sample)
prior.add_command(demographics)


@prior.command(cls=Computing)
@click.argument("images")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, .safetensors.")
@click.option("--resolution", type=click.IntRange(8, 1024), default=64, show_default=True)
@SCALING
@COLOUR
@click.option("--name", help="Name of the data set, declared in the file; default: the folder's.")
@click.option("--licence", default="", help="Licence of the data set.")
@click.option("--public", is_flag=True, help="The films are public: perceptual hashes and ids may be written.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@given_as(FilmOptions)
def fit(options: FilmOptions) -> int:
    """Fit a full-rank Gaussian to IMAGES (folder, CSV, NPZ; filter with ?column=value). Seconds.

    Without --public the file names no patient; keyed ids go to a patient file beside it, which is never shipped.
    """
    import torch

    from reid_audit.prior.gaussian import fit_gaussian

    out, seed = options.out, options.seed
    writable(out)
    films, declared = read_films(options)
    origin = origin_of_films(films, public=options.public)
    made = fit_gaussian(
        films.images,
        options.declared(options.name or declared, (declared,), origin),
        torch.Generator().manual_seed(seed),
        patients=films.summary.patients,
    )
    made.save(out, half=True, recipe=f"fit_gaussian(seed={seed})")
    click.echo(f"wrote {out}: {made.card.images} films of {made.card.patients} patients at {options.resolution} px")
    keep_patients(out, origin)
    return 0


@prior.command(cls=Computing)
@click.argument("images")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write, with the run's state beside it (prior.safetensors: prior.train/), or a folder for both.",
)
@click.option("--resolution", type=click.Choice(["32", "64", "128", "256"]), default="64", show_default=True)
@SCALING
@COLOUR
@click.option("--name", help="Name of the data set, declared in the file; default: the folder's.")
@click.option("--licence", default="", help="Licence of the data set.")
@click.option("--budget", callback=duration, help="Time of the whole training, such as 45m.  [default: 1h, or --steps]")
@click.option("--steps", type=click.IntRange(1), help="Steps of the whole training.")
@click.option("--public", is_flag=True, help="The films are public: perceptual hashes and ids may be written.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--start", type=click.Path(path_type=Path), help="PGGAN prior file to train on from, at its own side.")
@click.option("--resume", is_flag=True, help="Go on from the last snapshot; --budget and --steps count from the start.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@given_as(TrainOptions)
def train(options: TrainOptions) -> int:
    """Train a PGGAN on IMAGES (folder, CSV, NPZ; filter with ?column=value) and keep its best snapshot.

    A part of the patients is kept out and measures FID and KID. A run that was killed goes on with --resume. Without
    --public the file names no patient; keyed ids go to a patient file beside it, which is never shipped.
    """
    import torch

    from reid_audit.atomic import write_atomically
    from reid_audit.budget import Meter
    from reid_audit.console import ConsoleObserver, console_for
    from reid_audit.device import usable_device
    from reid_audit.prior.training import PRIOR_FILE, Training, train_pggan

    run, file = places(options.out, PRIOR_FILE)
    refuse_other_run(run, options.resume)
    writable(file, run / PRIOR_FILE)
    where = usable_device(options.device)
    first = None if options.start is None else starting_prior(options.start)
    films, declared = read_films(options)
    known, origin = history(first, declared, origin_of_films(films, public=options.public))
    seconds = DEFAULT_SECONDS if options.budget is None and options.steps is None else options.budget
    with ConsoleObserver(console_for(quiet=options.quiet), ceiling=seconds) as observer:
        made = train_pggan(
            films.images,
            films.patients.tolist(),
            options.declared(options.name or declared, known, origin),
            Training(run, Meter(seconds=seconds, steps=options.steps), observer, where, options.resume),
            generator=torch.Generator().manual_seed(options.seed),
            start=first,
        )
    if file != run / PRIOR_FILE:
        write_atomically(file, (run / PRIOR_FILE).read_bytes())
    click.echo(f"wrote {file}: {made.prior.card.side} px, {made.curve[-1].step} steps, snapshots in {run}")
    keep_patients(file, origin)
    return 0


def places(out: Path, name: str) -> tuple[Path, Path]:
    """Folder of a training run, and the file its result goes to: beside each other, or one in the other."""
    return (out.with_suffix(".train"), out) if out.suffix == ".safetensors" else (out, out / name)


def refuse_other_run(run: Path, resume: bool) -> None:
    """Raise RunStateError where hours of training would be overwritten."""
    from reid_audit.prior.snapshot import STATE_FILE

    if (run / STATE_FILE).exists() and not resume:
        raise RunStateError(
            f"{run} holds a training run",
            closest=f"{STATE_FILE} in it",
            remedy="go on with --resume, give another --out, or remove the folder",
        )


def starting_prior(file: Path) -> PgganPrior:
    """The PGGAN in ``file``. Raises PriorError for a prior of another kind."""
    from reid_audit.prior.loading import load_prior
    from reid_audit.prior.pggan import PgganPrior

    found = load_prior(file)
    if not isinstance(found, PgganPrior):
        raise PriorError(
            f"{file} cannot be trained on",
            closest=f"it is a {found.card.kind} prior; a pggan is wanted",
            remedy="give --start a prior of 'reid-audit prior train', or leave it out",
        )
    if found.origin is None:
        click.echo(f"{file} does not know its films: the overlap of what comes from it will be unknown", err=True)
    return found


def history(first: PgganPrior | None, declared: str, origin: Origin) -> tuple[tuple[str, ...], Origin | None]:
    """Data sets and films of a training, those of the prior it starts from included."""
    from reid_audit.artefacts.provenance import joined

    if first is None:
        return (declared,), origin
    return (*first.card.declared_training_sets, declared), joined(first.origin, origin)


def keep_patients(file: Path, origin: Origin | None) -> None:
    """For private films that are known, the patient file beside the prior."""
    import hashlib

    from reid_audit.prior.patient_file import beside, write_patient_file

    if origin is None or origin.public:
        return
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    write_patient_file(beside(file), origin, key=secrets.token_bytes(32), prior=digest)
    click.echo(f"wrote {beside(file)}: keyed patient ids and film hashes for 'check'; keep it in the house")
