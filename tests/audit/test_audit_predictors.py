"""Which predictor an audit uses, and that it knows whether the predictor has seen the cohorts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reid_audit.artefacts.provenance import Origin, origin_of
from reid_audit.audit import Films, PriorFilms
from reid_audit.audit.cohorts import OpenedCohorts
from reid_audit.audit.predictors import Wanted, loaded_predictors, predictors_for
from reid_audit.audit.request import PriorChoice
from reid_audit.cohort import Cohort
from reid_audit.demo.targets import demo_case
from reid_audit.errors import PriorError
from reid_audit.score.predictor_file import SHIPPED
from reid_audit.score.predictors import Predictors

CASE = demo_case("cnn")
COHORTS = OpenedCohorts(CASE.reference, CASE.holdout, None)


def source(wanted: Wanted = "auto", *, file: Path | None = None, chest: bool = True) -> str:
    found = loaded_predictors(file, wanted, chest=chest)
    return "none" if found is None else found.card.source


def read_by(loaded: Predictors | None, cohort: Cohort | None = None, wanted: Wanted = "auto") -> Predictors | None:
    origin = None if cohort is None else origin_of(cohort.images)
    return predictors_for(loaded, cohort, origin, COHORTS, wanted=wanted, seed=0)


def test_the_chest_predictor_is_used_with_the_chest_prior_or_when_asked_for() -> None:
    assert source() == "shipped"
    assert source(chest=False) == "none"
    assert source("off") == "none"
    assert source("shipped", chest=False) == "shipped"
    assert source("off", file=SHIPPED, chest=False) == "given"


def test_the_chest_prior_is_used_where_neither_a_file_nor_films_are_given() -> None:
    films = Films(prior=lambda _: PriorFilms(CASE.prior, declared="phantom"))
    assert PriorChoice().is_shipped(Films())
    assert not PriorChoice().is_shipped(films)
    assert not PriorChoice(Path("knees.safetensors")).is_shipped(Films())


def test_a_predictor_file_that_is_missing_is_refused() -> None:
    with pytest.raises(PriorError):
        loaded_predictors(Path("nowhere.safetensors"), "auto", chest=True)


def test_without_one_the_labelled_films_of_the_prior_are_used() -> None:
    found = read_by(None, CASE.prior)
    assert found is not None
    assert found.card.source == "fitted"
    assert found.card.overlap == "disjoint"
    assert read_by(None, CASE.prior, "off") is None
    assert read_by(None) is None


def test_a_predictor_made_from_a_cohort_is_found_out() -> None:
    chest = loaded_predictors(None, "auto", chest=True)
    assert chest is not None
    for cohort in (CASE.reference, CASE.holdout):
        saw = Origin(origin_of(cohort.images[:3]).hashes)
        found = read_by(replace(chest, origin=saw))
        assert found is not None
        assert found.card.overlap == "overlap"
    nobody = read_by(replace(chest, origin=None))
    assert nobody is not None
    assert nobody.card.overlap == "unknown"
    stranger = Origin(origin_of(CASE.prior.images).hashes, frozenset(CASE.holdout.patients[:1].tolist()))
    known = read_by(replace(chest, origin=stranger))
    assert known is not None
    assert known.card.overlap == "overlap"
