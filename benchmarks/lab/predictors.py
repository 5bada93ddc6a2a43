"""What reads age and sex in a benchmark: the shipped predictors, which saw films of the split `prior` alone."""

from __future__ import annotations

from dataclasses import replace

from reid_audit.score.predictor_file import shipped_predictors
from reid_audit.score.predictors import Predictors


def known(predictors: Predictors) -> Predictors:
    """The predictors, said to have seen neither cohort: their films are of the split ``prior``."""
    return replace(predictors, card=predictors.card.model_copy(update={"overlap": "disjoint"}))


def blind() -> Predictors:
    """The shipped predictors as ``known``."""
    return known(shipped_predictors())
