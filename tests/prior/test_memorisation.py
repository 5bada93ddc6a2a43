"""The memorisation test fires on a prior that replays its films, and not on an honest one."""

from __future__ import annotations

import torch
from replay import HELD_OUT, TRAINING, Replay, films

from reid_audit.artefacts.provenance import Declaration
from reid_audit.prior.gaussian import fit_gaussian
from reid_audit.prior.memorisation import Memorisation, measure_memorisation


def measured(prior: object) -> Memorisation:
    people = [f"p{i // 2}" for i in range(80)]
    generator = torch.Generator().manual_seed(5)
    return measure_memorisation(prior, TRAINING, people, HELD_OUT, people, generator=generator, samples=100)  # type: ignore[arg-type]


def test_replayed_films_are_found() -> None:
    found = measured(Replay())
    assert found.nearest_is_training == 1.0
    assert found.p < 0.001
    assert found.copies == 100
    assert found.closest_training > 0.98 > found.closest_held_out


def test_an_honest_prior_is_not_accused() -> None:
    prior = fit_gaussian(films(200, 9), Declaration("t"), torch.Generator().manual_seed(0))
    found = measured(prior)
    assert found.p > 0.05
    assert abs(found.expected - 0.5) < 0.1
    assert found.copies == 0
