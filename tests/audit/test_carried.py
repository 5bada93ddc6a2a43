"""Planted patients go the way of the training patients, and what becomes of them is measured."""

from __future__ import annotations

import numpy as np
import pytest
from small import SPEC, blobs, convnet, memorise, target_of
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.audit.carried import carried
from reid_audit.budget import Meter, Pace, unhurried
from reid_audit.cohort import Cohort, Subjects, assemble
from reid_audit.mitigate.interface import Given, Public
from reid_audit.preprocess import to_network


def prepare(images: Tensor) -> Tensor:
    return to_network(images, SPEC, 1)


def people(count: int) -> Cohort:
    names = np.array([f"P{number:03d}" for number in range(count)])
    ages, sexes = np.full(count, np.nan), np.array(["F", "M"] * (count // 2))
    return assemble(blobs(count, 31), Subjects(names, ages, sexes), role="holdout")


def given(pace: Pace | None = None) -> Given:
    public = Public(blobs(64, 5), np.full(64, ""), "public films")
    return Given(prepare, 0, pace or unhurried(), public, 16)


@pytest.fixture(scope="module")
def target() -> Target:
    return target_of(memorise(convnet(), prepare(blobs(16, 1)), steps=100))


def test_what_changes_nothing_leaves_them_recognised_and_what_replaces_statistics_does_not(target: Target) -> None:
    same = carried(target, people(120), ["fp16"], given(), count=8)
    replaced = carried(target, people(120), ["recompute-bn"], given(), count=8)
    assert same is not None
    assert replaced is not None
    assert same.patients == 8
    assert same.before == replaced.before >= 0.75
    assert same.after >= 0.75
    assert replaced.after < 0.5


def test_too_few_patients_or_no_time_is_no_answer(target: Target) -> None:
    assert carried(target, people(10), ["fp16"], given(), count=8) is None
    assert carried(target, people(40), ["fp16"], given(Pace(Meter(0.0, None))), count=8) is None
