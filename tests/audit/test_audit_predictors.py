"""Which predictor an audit uses, and that it knows whether the predictor has seen the cohorts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reid_audit.artefacts.provenance import Origin, origin_of
from reid_audit.audit import AuditRequest, Films, PriorFilms
from reid_audit.audit.cohorts import OpenedCohorts
from reid_audit.audit.predictors import loaded_predictors, predictors_for
from reid_audit.demo.targets import demo_case
from reid_audit.errors import PriorError
from reid_audit.records import Policy
from reid_audit.score.predictor_file import SHIPPED

CASE = demo_case("cnn")
COHORTS = OpenedCohorts(CASE.reference, CASE.holdout, None)


def request(demographics: str = "auto", **more: Path) -> AuditRequest:
    policy = Policy.model_validate({"demographics": demographics})
    fields = {"checkpoint": Path("model.pt"), "policy": policy, "policy_sha256": "0" * 64, **more}
    return AuditRequest.model_validate(fields)


def source(asked: AuditRequest, *, films: bool = False) -> str:
    prior = (lambda _: PriorFilms(CASE.prior, declared="phantom")) if films else None
    found = loaded_predictors(asked, Films(prior=prior))
    return "none" if found is None else found.card.source


def test_the_chest_predictor_is_used_with_the_chest_prior_or_when_asked_for() -> None:
    assert source(request()) == "shipped"
    assert source(request(), films=True) == "none"
    assert source(request(prior=Path("knees.safetensors"))) == "none"
    assert source(request("off")) == "none"
    assert source(request("shipped"), films=True) == "shipped"
    assert source(request("shipped", prior=Path("knees.safetensors"))) == "shipped"
    assert source(request("off", predictor=SHIPPED), films=True) == "given"


def test_a_predictor_file_that_is_missing_is_refused() -> None:
    with pytest.raises(PriorError):
        loaded_predictors(request(predictor=Path("nowhere.safetensors")), Films())


def test_without_one_the_labelled_films_of_the_prior_are_used() -> None:
    asked = request()
    found = predictors_for(None, CASE.prior, origin_of(CASE.prior.images), COHORTS, asked)
    assert found is not None
    assert found.card.source == "fitted"
    assert found.card.overlap == "disjoint"
    assert predictors_for(None, CASE.prior, None, COHORTS, request("off")) is None
    assert predictors_for(None, None, None, COHORTS, asked) is None


def test_a_predictor_made_from_a_cohort_is_found_out() -> None:
    chest = loaded_predictors(request(), Films())
    assert chest is not None
    for cohort in (CASE.reference, CASE.holdout):
        saw = Origin(origin_of(cohort.images[:3]).hashes)
        found = predictors_for(replace(chest, origin=saw), None, None, COHORTS, request())
        assert found is not None
        assert found.card.overlap == "overlap"
    nobody = predictors_for(replace(chest, origin=None), None, None, COHORTS, request())
    assert nobody is not None
    assert nobody.card.overlap == "unknown"
    stranger = Origin(origin_of(CASE.prior.images).hashes, frozenset(CASE.holdout.patients[:1].tolist()))
    known = predictors_for(replace(chest, origin=stranger), None, None, COHORTS, request())
    assert known is not None
    assert known.card.overlap == "overlap"
