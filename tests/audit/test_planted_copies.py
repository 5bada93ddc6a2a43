"""Canaries are planted by either optimiser where only answers can tell them, and the control is the lower figure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import blobs, convnet, task_of

from reid_audit.audit.cohorts import Canaries, Taught
from reid_audit.audit.recognition import lowest
from reid_audit.budget import unhurried
from reid_audit.cohort import Cohort, Subjects, assemble
from reid_audit.records import Measured, Metric, Reason, Unmeasured


def people(count: int) -> Cohort:
    names = np.array([f"P{number:03d}" for number in range(count)])
    return assemble(blobs(count, 3), Subjects(names, np.full(count, np.nan), np.full(count, "")), role="holdout")


@pytest.mark.parametrize(("normalised", "beside", "copies"), [(False, True, 2), (False, False, 1), (True, True, 1)])
def test_where_statistics_remember_them_one_copy_is_enough(normalised: bool, beside: bool, copies: int) -> None:
    task, holdout = task_of(convnet(normalised=normalised)), people(12)
    canaries = Canaries.choose(holdout, 4, 0)
    assert canaries is not None
    taught = Taught(torch.arange(4) % 2, mirrored=False) if beside else None
    made = list(canaries.copies(task, holdout, 0, unhurried(), taught))
    assert len(made) == copies
    weights = [copy.module.state_dict()["0.weight"] for copy in made]
    assert all(not torch.equal(weight, task.target.module.state_dict()["0.weight"]) for weight in weights)
    assert not any(torch.equal(weights[0], weight) for weight in weights[1:])


def test_the_control_has_to_be_met_by_all_copies() -> None:
    found, missing = (
        Measured(metric=Metric.MEMBERSHIP_CONTROL, value=0.75, control=0.01, n=8),
        Unmeasured(metric=Metric.MEMBERSHIP_CONTROL, reason=Reason.BUDGET),
    )
    lower = found.model_copy(update={"value": 0.25})
    assert lowest([found]) == found
    assert lowest([found, lower]) == lowest([lower, found]) == lower
    assert lowest([found, missing]) == missing
