"""``reid-audit prior demographics``: an age and sex predictor of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from reid_audit.cli.computing import Computing
from reid_audit.cli.given import given_as
from reid_audit.cli.prior_films import SCALING, FilmOptions, origin_of_films, read_films, writable
from reid_audit.errors import CohortError


class DemographicsOptions(FilmOptions):
    """Everything given to one ``prior demographics``; None: not given."""

    holdout: str | None = None


@click.command(cls=Computing)
@click.argument("images")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, .safetensors.")
@click.option("--name", help="Name of the data set, declared in the file; default: the folder's.")
@click.option("--holdout", help="Films of other patients on which age and sex readings are measured.")
@click.option("--resolution", type=click.IntRange(8, 64), default=64, show_default=True)
@SCALING
@click.option("--licence", default="", help="Licence of the data set.")
@click.option("--public", is_flag=True, help="The films are public: perceptual hashes and ids may be written.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@given_as(DemographicsOptions)
def demographics(options: DemographicsOptions) -> int:
    """Fit an age and sex predictor to IMAGES, whose manifest tells ages and sexes. For 'check --demographics'."""
    import torch

    from reid_audit.cohort import require_disjoint
    from reid_audit.score.predictor_file import save_predictors
    from reid_audit.score.predictors import FILMS, fit_predictors, measured_on

    out, resolution, seed = options.out, options.resolution, options.seed
    writable(out)
    films, declared = read_films(options)
    made = fit_predictors(
        films.images,
        films.ages,
        films.sexes,
        films.patients,
        options.declared(out.stem, (declared,), origin_of_films(films, public=options.public)),
        torch.Generator().manual_seed(seed),
    )
    if made is None:
        raise CohortError(
            f"too few of {len(films.images)} films tell an age or a sex",
            closest=f"{FILMS} films with an age, of 5 patients; or {FILMS} with a sex, of 10 men and 10 women",
            remedy="give a manifest with the columns age and sex (M or F)",
        )
    if options.holdout is not None:
        others, called = read_films(options.model_copy(update={"images": options.holdout, "name": None}))
        require_disjoint(films, others)
        made = measured_on(made, f"other patients: {called}", others.images, others.ages, others.sexes)
    save_predictors(made, out, recipe=f"prior demographics, resolution {resolution}, seed {seed}")
    click.echo(f"wrote {out}: {made.card.images} films of {made.card.patients} patients at {made.card.side} px")
    return 0
