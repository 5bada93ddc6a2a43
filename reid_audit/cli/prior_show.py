"""``reid-audit prior info`` and ``reid-audit prior sample``: what is in a prior file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit.cli.computing import Computing
from reid_audit.cli.prior_films import SCALING
from reid_audit.records import PreprocessSpec, Scaling

if TYPE_CHECKING:
    from reid_audit.score.prior_leak import PriorLeak

COLUMNS = 8


@click.command(cls=Computing)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--audit", "training", metavar="IMAGES", help="The prior's own training films: does it repeat them?")
@click.option("--holdout", metavar="IMAGES", help="Films of the same kind it has not seen; needed by --audit.")
@click.option("--samples", type=click.IntRange(32, 4096), default=512, show_default=True, help="Draws for --audit.")
@SCALING
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def info(
    file: Path, training: str | None, holdout: str | None, samples: int, scaling: Scaling | None, seed: int
) -> int:
    """Describe the prior in FILE, ours or a PGGAN of a known foreign layout; or an age and sex predictor.

    With --audit exit code 1 says that it repeats its training films, 4 that the two sets of films cannot be compared.
    """
    if (training is None) != (holdout is None):
        raise click.UsageError(
            "--audit and --holdout go together: without films it has not seen nothing is a yardstick"
        )
    for name, value in described(file).items():
        click.echo(f"{name:16} {value}")
    if training is None or holdout is None:
        return 0
    found = audited(file, training, holdout, samples, scaling, seed)
    click.echo("")
    for name, value in audit_lines(found).items():
        click.echo(f"{name:16} {value}")
    return 1 if found.repeats else 0 if found.comparable else 4


def described(path: Path) -> dict[str, str]:
    """Name -> value, as shown."""
    from reid_audit.artefacts.storage import read_prior_file
    from reid_audit.prior.layouts import layout_of
    from reid_audit.prior.loading import load_prior
    from reid_audit.prior.pggan import PgganPrior, forward_flops
    from reid_audit.score.predictor_file import FORMAT, load_predictors

    if read_prior_file(path).metadata.get("format") == FORMAT:
        return {name: str(value) for name, value in load_predictors(path).card.model_dump(mode="json").items()}
    prior, file = load_prior(path), read_prior_file(path)
    card, foreign = prior.card, None if "kind" in file.metadata else layout_of(file)
    shown = {
        "id": card.id,
        "kind": card.kind,
        "layout": f"{foreign[0].name}, read by its tensors" if foreign else "reid-audit",
        "sha256": card.sha256,
        "image": f"{card.side} x {card.side} px, {card.channels} channel{'s' if card.channels > 1 else ''}",
        "latent values": str(prior.latent_dim),
        "training sets": "; ".join(card.declared_training_sets) or "not declared: overlap with an audit is unknown",
        "films, patients": f"{card.images}, {card.patients}" if card.images else "not declared",
        "licence": card.licence or "not declared",
        "knows its films": known_films(path),
    }
    if isinstance(prior, PgganPrior):
        cost = forward_flops(prior.network.widths, prior.latent_dim) / 1e9
        shown["a forward"] = f"{cost:.3g} GFLOP"
        shown["discriminator"] = "kept" if prior.discriminator is not None else "none"
    for key, label in (("recipe", "recipe"), ("validation", "held out")):
        if file.metadata.get(key):
            shown[label] = plain(file.metadata[key])
    return shown


def plain(text: str) -> str:
    """A JSON object as ``key value`` pairs; other text as it is, on one line."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    shown = ", ".join(f"{key} {value}" for key, value in fields.items()) if isinstance(fields, dict) else text
    return " ".join("".join(c if c.isprintable() else " " for c in shown).split())


def known_films(path: Path) -> str:
    """What the contamination check can compare."""
    from reid_audit.artefacts.provenance import read_origin
    from reid_audit.artefacts.storage import read_prior_file
    from reid_audit.prior.patient_file import beside

    origin = read_origin(read_prior_file(path))
    if origin is not None:
        hashes = 0 if origin.hashes is None else len(origin.hashes)
        return f"{hashes} perceptual hashes, {len(origin.patients)} patient ids in the file"
    return f"by {beside(path).name}" if beside(path).is_file() else "no: overlap with an audit is unknown"


def audited(file: Path, training: str, holdout: str, samples: int, scaling: Scaling | None, seed: int) -> PriorLeak:
    """The prior's samples against both sets of films, at its own side."""
    from reid_audit.cohort import Frame, Source, load_cohort, parse_source, require_disjoint
    from reid_audit.prior.loading import load_prior
    from reid_audit.score.prior_leak import audit_prior

    prior = load_prior(file)
    frame = Frame(PreprocessSpec(scaling=scaling), prior.card.side, prior.card.channels)
    mine = load_cohort(Source(*parse_source(training)), frame, "reference")
    others = load_cohort(Source(*parse_source(holdout)), frame, "holdout")
    for name, films in (("training", mine), ("hold-out", others)):
        for note in films.notes:
            click.echo(f"{name} films: {note}", err=True)
    require_disjoint(mine, others)
    return audit_prior(
        prior,
        mine.images,
        [f"T:{patient}" for patient in mine.patients.tolist()],
        others.images,
        [f"H:{patient}" for patient in others.patients.tolist()],
        seed=seed,
        samples=samples,
    )


def audit_lines(found: PriorLeak) -> dict[str, str]:
    """Name -> value, as shown."""
    near = found.nearest
    kinds = "too few patients" if found.kinds_p is None else f"two-sample p {found.kinds_p:.3g}"
    if found.repeats:
        verdict = "it repeats its training films: do not ship it"
    elif found.comparable:
        verdict = "no sign that it repeats its training films"
    else:
        verdict = "nothing can be said: give held-out films from the same source, of enough patients"
    return {
        "films alike": f"{kinds}{'' if found.comparable else ', so the tests below mean little'}",
        "nearest film": f"in training for {near.nearest_is_training:.3f} of {near.samples} samples, "
        f"{near.expected:.3f} by chance, p {near.p:.3g}",
        "linkage": f"AUC {found.linkage.auc:.3f} (0.5 by chance), p {found.linkage.p:.3g}",
        "copies": f"{near.copies} samples; closest training film {near.closest_training:.3f}, "
        f"closest other {near.closest_held_out:.3f} (correlation)",
        "verdict": verdict,
    }


@click.command(cls=Computing)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="PNG to write.")
@click.option("--count", type=click.IntRange(1, 1024), default=64, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def sample(file: Path, out: Path, count: int, seed: int) -> int:
    """Draw a grid of images from the prior in FILE."""
    if out.suffix.lower() != ".png":
        raise click.BadParameter(f"{out} is not a .png file", param_hint="--out")
    import torch

    from reid_audit.cli.prior_films import writable
    from reid_audit.prior.loading import load_prior
    from reid_audit.prior.memorisation import draw_samples
    from reid_audit.prior.sampling import write_grid

    writable(out)
    loaded = load_prior(file)
    images = draw_samples(loaded, count, torch.Generator().manual_seed(seed))
    columns = min(COLUMNS, count)
    blank = torch.zeros(-count % columns, *images.shape[1:])
    write_grid(torch.cat([images, blank]), out, columns=columns)
    click.echo(f"wrote {out}: {count} samples of {loaded.card.id}")
    return 0
