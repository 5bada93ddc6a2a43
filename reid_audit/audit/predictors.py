"""Which predictor reads age and sex: a given one, one fitted on the prior's films, the shipped one, or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from reid_audit.artefacts.provenance import Declaration, Origin
from reid_audit.audit.cohorts import OpenedCohorts
from reid_audit.cohort import Cohort
from reid_audit.score.predictor_file import load_predictors, shipped_predictors
from reid_audit.score.predictors import Predictors, fit_predictors

Wanted = Literal["auto", "shipped", "off"]
"""What the policy's ``demographics`` may say."""


def loaded_predictors(file: Path | None, wanted: Wanted, *, chest: bool) -> Predictors | None:
    """The predictors in ``file``; or the shipped chest predictor where the policy ``wanted`` it, or the prior is the
    shipped chest prior too (``chest``).

    The shipped one is never applied to another prior unasked, which may be of another modality. Raises PriorError.
    """
    if file is not None:
        return load_predictors(file)
    return shipped_predictors() if wanted == "shipped" or (wanted == "auto" and chest) else None


def predictors_for(
    loaded: Predictors | None,
    prior_cohort: Cohort | None,
    origin: Origin | None,
    cohorts: OpenedCohorts,
    *,
    wanted: Wanted,
    seed: int,
) -> Predictors | None:
    """What reads this audit's images, with a card that says whether it has seen the cohorts.

    They are those ``loaded``, or else, where the policy ``wanted`` "auto", fitted on the prior's films
    ``prior_cohort``, whose origin is ``origin``; None where those tell too little.
    """
    found = loaded
    if found is None and prior_cohort is not None and wanted == "auto":
        found = fit_predictors(
            prior_cohort.images,
            prior_cohort.ages,
            prior_cohort.sexes,
            prior_cohort.patients,
            Declaration("fitted on the prior's films", origin=origin),
            torch.Generator().manual_seed(seed),
        )
    if found is None:
        return None
    return replace(found, card=found.card.model_copy(update={"overlap": cohorts.overlap(found.origin)}))
