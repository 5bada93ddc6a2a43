"""Exchanged cohorts: a network that knows the hold-out better than its training films clears nobody."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import SPEC, blobs, convnet, memorise, task_of

from reid_audit.attack.interface import AttackTask
from reid_audit.audit.allowance import unlimited
from reid_audit.audit.recognition import recognition
from reid_audit.preprocess import to_network
from reid_audit.records import Reason, Unmeasured
from reid_audit.score.comparison import Comparison
from reid_audit.score.membership.reversed import knows_the_others
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import fit_match_space

LEARNED, STRANGE = blobs(110, 1), blobs(110, 2)
AUDITS = 400


@pytest.fixture(scope="module")
def task() -> AttackTask:
    """A network that learned the first films by heart."""
    return task_of(memorise(convnet(), to_network(LEARNED, SPEC, 1)))


def compared(training: torch.Tensor, holdout: torch.Tensor) -> Comparison:
    """Films said to be of the training, beside films said to be none."""
    films = torch.cat([training, holdout])
    owners = Owners(np.arange(len(films)).astype(np.str_), np.arange(len(films)) < len(training))
    return Comparison.unlabelled(films, owners, fit_match_space(blobs(40, 3)))


@pytest.mark.parametrize(
    ("training", "holdout", "reason"),
    [(LEARNED, STRANGE, Reason.NO_LABELS), (STRANGE, LEARNED, Reason.HOLDOUT_KNOWN)],
)
def test_exchanged_cohorts_are_noticed_without_labels(
    task: AttackTask, training: torch.Tensor, holdout: torch.Tensor, reason: Reason
) -> None:
    gap = recognition(task, compared(training, holdout), unlimited(), 0).gap
    assert isinstance(gap, Unmeasured)
    assert gap.reason is reason


def test_one_audit_in_a_thousand_is_suspected_by_chance() -> None:
    random = np.random.default_rng(0)
    is_member = np.arange(120) < 60
    suspected = [knows_the_others(random.standard_normal((3, 120)), is_member) for _ in range(AUDITS)]
    assert sum(suspected) <= 3


def test_every_family_is_asked() -> None:
    random = np.random.default_rng(0)
    is_member = np.arange(120) < 60
    scores = random.standard_normal((3, 120))
    scores[2] -= 1.5 * is_member
    assert knows_the_others(scores, is_member)
    scores[2] += 3.0 * is_member
    assert not knows_the_others(scores, is_member)
