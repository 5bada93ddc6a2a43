"""Strata that tell the cohorts apart leave no label to exchange: every p-value would be 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reid_audit.cohort import Cohort, Subjects, assemble, require_common_strata
from reid_audit.cohort.strata import left_by
from reid_audit.errors import CohortError
from reid_audit.records import Role


def cohort(role: Role, strata: list[str], films: int = 1, *, named: bool = True) -> Cohort:
    """Patients with ``films`` films each, one stratum a patient."""
    count = len(strata) * films
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(len(role)))
    people = Subjects(
        np.repeat([f"{role}{number}" for number in range(len(strata))], films),
        np.full(count, np.nan),
        np.full(count, ""),
        np.repeat(np.array(strata), films),
    )
    return assemble(images, people, role=role, stratum_names=("site",) if named else ())


@pytest.mark.parametrize(
    ("training", "others"),
    [
        ({"a": 40}, {"b": 40}),
        ({f"p{n}": 1 for n in range(40)}, {f"q{n}": 1 for n in range(40)}),
        ({"a": 95, "b": 5}, {"a": 5, "b": 95}),
    ],
    ids=["other sites", "patient ids", "hardly any in common"],
)
def test_strata_that_tell_the_cohorts_apart_leave_nothing(training: dict[str, int], others: dict[str, int]) -> None:
    assert left_by(training, others) < 0.25


def test_strata_alike_cost_nothing_and_unlike_ones_something() -> None:
    assert left_by({"a": 60, "b": 30}, {"a": 20, "b": 10}) == pytest.approx(1.0)
    assert left_by({"a": 48, "b": 12}, {"a": 12, "b": 48}) == pytest.approx(0.64)


def test_the_strata_of_patients_are_asked_before_anything_is_compared() -> None:
    training, others = cohort("reference", ["a"] * 30, films=2), cohort("holdout", ["b"] * 30)
    with pytest.raises(CohortError, match="0% of the comparison") as refused:
        require_common_strata(training, others)
    assert "--strata" in refused.value.remedy
    require_common_strata(training, cohort("holdout", ["a"] * 30))
    require_common_strata(cohort("reference", ["a"] * 30, named=False), cohort("holdout", ["b"] * 30, named=False))
