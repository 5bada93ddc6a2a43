"""The study's four targets on phantom films: which people trained them, who did not, and what the attacker may know."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from reid_audit.cohort import Cohort, Subjects, assemble
from reid_audit.demo.phantom import phantom_cohort
from reid_audit.errors import CheckpointError
from reid_audit.records import PreprocessSpec

TargetName = Literal["cnn", "overfit_cnn", "vit", "overfit_vit"]
TARGETS: tuple[TargetName, ...] = get_args(TargetName)

SIDE = 32
SPEC = PreprocessSpec(side=SIDE)
"""The targets saw films in [0, 1], 32 x 32, one channel, no mean or std subtracted."""
FILMS = (1, 3)
REFERENCE_SEED, REFERENCE_PATIENTS = 101, 450
HOLDOUT_SEED, HOLDOUT_PATIENTS = 202, 450
PRIOR_SEED, PRIOR_PATIENTS = 303, 900
OVERFIT_PATIENTS = 16


class DemoCase(NamedTuple):
    """One audit of the demo."""

    checkpoint: Path
    reference: Cohort
    """The films the target was trained on, all of them and no others."""
    holdout: Cohort
    """Films of other people."""
    prior: Cohort
    """Films of a third group, for the attacker's prior."""


def demo_case(name: TargetName) -> DemoCase:
    """Checkpoint and films of one target. Raises CheckpointError where the shipped weights are missing."""
    return DemoCase(
        checkpoint=checkpoint_path(name),
        reference=reference_films(name),
        holdout=phantom_cohort(HOLDOUT_PATIENTS, side=SIDE, seed=HOLDOUT_SEED, role="holdout", films=FILMS),
        prior=phantom_cohort(PRIOR_PATIENTS, side=SIDE, seed=PRIOR_SEED, role="reference", films=FILMS),
    )


def checkpoint_path(name: TargetName) -> Path:
    """The shipped safetensors file: inside an installed package, or in examples/targets/ of a checkout."""
    packaged = resources.files("reid_audit.demo") / "targets_data" / f"{name}.safetensors"
    checkout = Path(__file__).resolve().parents[2] / "examples" / "targets" / f"{name}.safetensors"
    for place in (Path(str(packaged)), checkout):
        if place.is_file():
            return place
    raise CheckpointError(
        f"the demo's {name}.safetensors is missing",
        closest=f"looked in {packaged} and {checkout.parent}",
        remedy="reinstall reid-audit, or run examples/make_targets.py in a checkout",
    )


def reference_films(name: TargetName) -> Cohort:
    """The training films of a target: everybody's, or one film each of a few for the overfit ones."""
    everyone = phantom_cohort(REFERENCE_PATIENTS, side=SIDE, seed=REFERENCE_SEED, role="reference", films=FILMS)
    return _few(everyone, OVERFIT_PATIENTS) if name.startswith("overfit") else everyone


def _few(cohort: Cohort, patients: int) -> Cohort:
    """One film each of ``patients`` people, half of them women."""
    _, first = np.unique(cohort.patients, return_index=True)
    women, men = (first[cohort.sexes[first] == sex][: patients // 2] for sex in ("F", "M"))
    chosen = np.concatenate([women, men])
    few = Subjects(cohort.patients[chosen], cohort.ages[chosen], cohort.sexes[chosen])
    return assemble(cohort.images[chosen], few, role="reference")
