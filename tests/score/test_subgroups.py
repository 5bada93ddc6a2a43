"""Groups: an exposed one is found, chance is not, small ones are not shown; patients recognised one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from phantom_cohorts import smooth_images

from reid_audit.audit.attributes import attributes_of, band, films
from reid_audit.records import GroupedBy, Measured, Metric, Reason, Unmeasured, find
from reid_audit.score.comparison import Comparison
from reid_audit.score.membership.subgroups import SubgroupOutcome, recognised, recognised_patients, subgroups
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import fit_match_space

PEOPLE = 300


def outcome(exposed: float, *, seed: int = 0, rare: int = 40) -> SubgroupOutcome:
    """Training patients of a rare group are recognised with chance ``exposed``, everybody else at random."""
    rng = np.random.default_rng(seed)
    is_member = np.arange(2 * PEOPLE) < PEOPLE
    scores = rng.standard_normal(2 * PEOPLE)
    words = np.where(rng.permutation(2 * PEOPLE) < 2 * rare, "rare", "common")
    scores[is_member & (words == "rare") & (rng.random(2 * PEOPLE) < exposed)] += 10.0
    attributes: dict[GroupedBy, NDArray[np.str_]] = {"sex": words, "films": np.full(2 * PEOPLE, "1")}
    return subgroups(scores, is_member, attributes, rng)


def measured(found: SubgroupOutcome, metric: Metric) -> Measured:
    number = find(found.measurements, metric)
    assert isinstance(number, Measured)
    return number


def test_an_exposed_group_is_found() -> None:
    found = outcome(0.5)
    disparity, worst = (measured(found, m) for m in (Metric.MEMBERSHIP_DISPARITY, Metric.MEMBERSHIP_WORST_GROUP))
    assert disparity.p is not None
    assert disparity.p <= 0.01
    assert disparity.value > 0.3
    assert worst.low is not None
    assert worst.low > 0.2
    assert worst.control is not None
    assert worst.control < 0.15
    assert {group.name for group in found.groups} == {"rare", "common"}


def test_chance_is_no_disparity() -> None:
    """Under the null no more than a twentieth of p lie below a twentieth, by much."""
    p = [measured(outcome(0.0, seed=seed), Metric.MEMBERSHIP_DISPARITY).p for seed in range(40)]
    assert sum(1 for each in p if each is not None and each <= 0.05) <= 6


def test_small_groups_are_not_shown() -> None:
    found = outcome(1.0, rare=4)
    assert not found.groups
    assert all(isinstance(m, Unmeasured) and m.reason is Reason.NO_GROUPS for m in found.measurements)


def test_patients_are_recognised_one_by_one() -> None:
    rng = np.random.default_rng(0)
    is_member = np.arange(2 * PEOPLE) < PEOPLE
    blind = rng.standard_normal((3, 2 * PEOPLE))
    assert not recognised(blind, is_member, 0.1).any()
    known = blind.copy()
    known[1, :60] += 10.0
    found = recognised(known, is_member, 0.1)
    assert found[:60].all()
    assert not found[~is_member].any()
    assert recognised_patients(found, is_member).value == found.sum()


@pytest.mark.parametrize(("age", "words"), [(0.0, "0 to 19"), (39.9, "20 to 39"), (80.0, "80 to 99"), (np.nan, "")])
def test_ages_fall_into_bands(age: float, words: str) -> None:
    assert band(age) == words


def test_a_patient_of_two_words_is_of_neither() -> None:
    images = smooth_images(6, np.random.default_rng(0))
    comparison = Comparison(
        images,
        Owners(np.array(["a", "a", "b", "c", "c", "c"]), np.array([True] * 3 + [False] * 3)),
        fit_match_space(images),
        ages=np.array([30.0, 30.0, 70.0, np.nan, np.nan, np.nan]),
        sexes=np.array(["F", "F", "M", "", "", ""]),
        labels=np.array(["ill", "well", "ill", "ill", "ill", "ill"]),
    )
    found = attributes_of(comparison, np.array(["a", "b", "c"]))
    assert found["sex"].tolist() == ["F", "M", ""]
    assert found["age"].tolist() == ["20 to 39", "60 to 79", ""]
    assert found["label"].tolist() == ["", "ill", "ill"]
    assert found["films"].tolist() == ["2 to 3", "1", "2 to 3"]
    assert films(9) == "4 and more"
