"""A prior that replays its films is found by nearest neighbours and by linkage; an honest one is not accused."""

from __future__ import annotations

import pytest
import torch
from replay import HELD_OUT, TRAINING, Replay, films
from torch import Tensor

from reid_audit.artefacts.provenance import Declaration
from reid_audit.errors import CohortError
from reid_audit.prior.gaussian import fit_gaussian
from reid_audit.score.prior_leak import PriorLeak, audit_prior


def audited(prior: object, held_out: Tensor = HELD_OUT) -> PriorLeak:
    mine, others = [f"T{i // 2}" for i in range(80)], [f"H{i // 2}" for i in range(80)]
    return audit_prior(prior, TRAINING, mine, held_out, others, seed=5, samples=64)  # type: ignore[arg-type]


def test_replayed_films_are_found() -> None:
    found = audited(Replay(0.01))
    assert found.comparable
    assert found.copies
    assert found.repeats


def test_replay_under_noise_is_found_by_linkage() -> None:
    found = audited(Replay(0.15))
    assert not found.copies
    assert found.linkage.p <= 0.005
    assert found.repeats


def test_an_honest_prior_is_not_accused() -> None:
    prior = fit_gaussian(films(200, 9), Declaration("t"), torch.Generator().manual_seed(0))
    found = audited(prior)
    assert found.comparable
    assert not found.repeats


def test_films_of_another_kind_make_no_yardstick() -> None:
    prior = fit_gaussian(TRAINING, Declaration("t"), torch.Generator().manual_seed(0))
    found = audited(prior, HELD_OUT * 0.3)
    assert not found.comparable
    assert not found.repeats


def test_a_patient_on_both_sides_is_refused() -> None:
    prior = fit_gaussian(TRAINING, Declaration("t"), torch.Generator().manual_seed(0), augment=1)
    people = [f"p{i}" for i in range(80)]
    with pytest.raises(CohortError):
        audit_prior(prior, TRAINING, people, HELD_OUT, people, seed=0, samples=32)
