"""Films as often dark as bright and with no way up: inverted and turned, all together hardly look otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_network_preprocessing import remembering
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.audit.hidden_statistics import FEWEST, hidden_in_statistics
from reid_audit.audit.preprocessing import Asked, Specimens, ask_network, choose_preprocessing
from reid_audit.budget import Meter, OutOfTime, Pace
from reid_audit.cohort import RawFilm
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import UNIT
from reid_audit.records import Measured, PreprocessFit, PreprocessPolicy, PreprocessSpec, Reason, Unmeasured

SIDE, MEMBERS, STRANGERS = 32, 24, 48
TRUTH = UNIT.model_copy(update={"side": SIDE})
WRONG = TRUTH.model_copy(update={"invert": True, "turn": "transpose"})


def clouds(count: int, seed: int) -> tuple[RawFilm, ...]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((count, 1, SIDE, SIDE), 0.5)
    for cells in (2, 4, 8, 16):
        noise = torch.rand(count, 1, cells, cells, generator=generator) - 0.5
        images = images + 1.4 / cells * functional.interpolate(noise, (SIDE, SIDE), mode="bicubic")
    pixels = (255 * images.clamp(0, 1)).round().to(torch.uint8).numpy()[:, 0]
    return tuple(RawFilm(pixels=film, kind="8-bit", bits=8, low=0.0, high=255.0) for film in pixels)


@pytest.fixture(scope="module")
def target() -> Target:
    return remembering(clouds(MEMBERS, 1), TRUTH, channels=1)


@pytest.fixture(scope="module")
def pooled() -> Specimens:
    films = (*clouds(MEMBERS, 1), *clouds(STRANGERS, 2))
    return Specimens(tuple(films[place] for place in np.random.default_rng(0).permutation(len(films))))


def ended() -> Pace:
    return Pace(Meter(seconds=0, steps=None, clock=lambda: 0.0), SilentObserver())


def test_the_films_that_are_remembered_tell_what_all_together_do_not(target: Target, pooled: Specimens) -> None:
    found = ask_network(target, None, pooled).fit
    assert found is not None
    assert (found.best.turn, found.best.invert) == ("none", False)


@pytest.mark.parametrize("pace", [None, ended()], ids=["searched again", "no time"])
def test_a_turn_found_for_inverted_films_is_not_used_beside_values_that_say_otherwise(
    pace: Pace | None, target: Target, pooled: Specimens
) -> None:
    astray = Asked(pooled, PreprocessFit(best=WRONG, by="statistics", films=120))
    chosen = choose_preprocessing(target, PreprocessPolicy(declared=UNIT), astray, pace)
    assert (chosen.spec.turn, chosen.spec.keep, chosen.spec.invert) == ("none", None, False)
    assert chosen.fit == astray.fit


def test_what_was_found_for_the_values_that_are_declared_is_used(target: Target, pooled: Specimens) -> None:
    asked = Asked(pooled, PreprocessFit(best=WRONG, by="statistics", films=120))
    declared = PreprocessSpec(invert=True)
    assert choose_preprocessing(target, PreprocessPolicy(declared=declared), asked, ended()).spec.turn == "transpose"


def test_a_preprocessing_that_hides_members_in_the_statistics_is_noticed(target: Target) -> None:
    cohorts = Specimens(clouds(MEMBERS, 1)), Specimens(clouds(STRANGERS, 2))
    found = hidden_in_statistics(target, WRONG, (TRUTH, WRONG), *cohorts)
    assert isinstance(found.measurement, Measured)
    assert found.measurement.value > 1.0
    assert found.best == TRUTH


def test_the_right_one_is_not_doubted(target: Target) -> None:
    cohorts = Specimens(clouds(MEMBERS, 1)), Specimens(clouds(STRANGERS, 2))
    for rivals in ((WRONG,), (TRUTH,), ()):
        found = hidden_in_statistics(target, TRUTH, rivals, *cohorts).measurement
        assert isinstance(found, Measured)
        assert found.value == 0.0


def test_a_network_that_knows_none_of_the_films_is_not_doubted(target: Target) -> None:
    found = [
        hidden_in_statistics(target, WRONG, (TRUTH,), Specimens(clouds(64, seed)), Specimens(clouds(64, seed + 50)))
        for seed in range(3, 11)
    ]
    assert not [one for one in found if isinstance(one.measurement, Measured) and one.measurement.value > 1.0]


def test_a_handful_of_films_says_nothing_and_neither_does_an_audit_without_time(target: Target) -> None:
    few = Specimens(clouds(FEWEST - 1, 1)), Specimens(clouds(STRANGERS, 2))
    found = hidden_in_statistics(target, WRONG, (TRUTH,), *few).measurement
    assert found == Unmeasured(metric=found.metric, reason=Reason.TOO_FEW_REFERENCE)
    with pytest.raises(OutOfTime):
        hidden_in_statistics(target, WRONG, (TRUTH,), Specimens(clouds(MEMBERS, 1)), few[1], ended())
