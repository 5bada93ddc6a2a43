"""Which predictor reads age and sex: a given one, one fitted on the prior's films, the shipped one, or none."""

from __future__ import annotations

from dataclasses import replace

import torch

from reid_audit.artefacts.provenance import Declaration, Origin
from reid_audit.audit.cohorts import OpenedCohorts
from reid_audit.audit.request import AuditRequest, Films
from reid_audit.cohort import Cohort
from reid_audit.score.predictor_file import load_predictors, shipped_predictors
from reid_audit.score.predictors import Predictors, fit_predictors


def loaded_predictors(request: AuditRequest, films: Films) -> Predictors | None:
    """The given file; or the shipped chest predictor where the policy asks for it or the prior is the shipped chest
    prior too. It is never applied to another prior unasked: that may be of another modality. Raises PriorError."""
    if request.predictor is not None:
        return load_predictors(request.predictor)
    wanted, chest = request.policy.demographics, request.prior is None and films.prior is None
    return shipped_predictors() if wanted == "shipped" or (wanted == "auto" and chest) else None


def predictors_for(
    loaded: Predictors | None,
    prior_cohort: Cohort | None,
    origin: Origin | None,
    cohorts: OpenedCohorts,
    request: AuditRequest,
) -> Predictors | None:
    """What reads this audit's images, with a card that says whether it has seen the cohorts.

    ``loaded``, or else fitted on the prior's films ``prior_cohort``, whose origin is ``origin``; None where those tell
    too little.
    """
    found = loaded
    if found is None and prior_cohort is not None and request.policy.demographics == "auto":
        found = fit_predictors(
            prior_cohort.images,
            prior_cohort.ages,
            prior_cohort.sexes,
            prior_cohort.patients,
            Declaration("fitted on the prior's films", origin=origin),
            torch.Generator().manual_seed(request.seed),
        )
    if found is None:
        return None
    return replace(found, card=found.card.model_copy(update={"overlap": cohorts.overlap(found.origin)}))
