"""Films that are each standardised by itself, as nnU-Net and MONAI's NormalizeIntensity do: found, declared, asked."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_answer_fit import MEMBERS, taught, words
from test_network_preprocessing import at, films_at, raw_films, remembering

from reid_audit.audit.hidden_membership import hidden_membership
from reid_audit.audit.preprocessing import Asked, Specimens, choose_preprocessing
from reid_audit.budget import Meter, Pace
from reid_audit.cohort import RawFilm, render
from reid_audit.errors import CohortError
from reid_audit.network.answer_fit import fit_by_answers
from reid_audit.network.preprocessing import fit_preprocess
from reid_audit.network.search import Ways
from reid_audit.observer import SilentObserver
from reid_audit.policy.parse import parse_policy
from reid_audit.preprocess import UNIT, from_network, to_network
from reid_audit.records import Measured, PerFilm, PreprocessFit, PreprocessPolicy, PreprocessSpec, Scaling

EITHER: tuple[PerFilm, ...] = ("none", "zscore")
ALONE = PreprocessSpec(side=32, per_film="zscore")
QUARTER = PreprocessSpec(mean=(0.5,), std=(0.25,))
STRETCHED = Scaling(by="minmax")


def exposed(films: tuple[RawFilm, ...]) -> tuple[RawFilm, ...]:
    """The films darker and brighter, with more and less contrast, as no two detectors and patients are alike."""
    rng = np.random.default_rng(5)
    found = []
    for film in films:
        low, high = rng.uniform(0, 60), rng.uniform(140, 255)
        pixels = (low + film.pixels.astype(np.float64) / 255 * (high - low)).round().astype(np.uint8)
        found.append(replace(film, pixels=pixels))
    return tuple(found)


def test_every_film_gets_mean_0_and_deviation_1_in_all_channels_together() -> None:
    seen = to_network(torch.rand(3, 3, 12, 12) * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1, 1), ALONE, 3)
    assert torch.allclose(seen.mean((1, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(seen.flatten(1).std(1, correction=0), torch.ones(3), atol=1e-4)


def test_a_flat_film_is_nothing_and_has_a_slope() -> None:
    flat = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    seen = to_network(flat, ALONE, 1)
    torch.autograd.backward(seen.square().sum())
    assert seen.abs().max() < 1e-3
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_it_comes_before_the_other_values_and_cannot_be_undone() -> None:
    films, spec = torch.rand(2, 1, 8, 8), ALONE.model_copy(update={"mean": (1.0,), "std": (2.0,), "invert": True})
    assert torch.allclose(to_network(films, spec, 1), -to_network(films, ALONE, 1) / 2.0, atol=1e-6)
    with pytest.raises(ValueError, match="mapped back"):
        from_network(films, ALONE)
    stored = RawFilm(
        pixels=films[0, 0].numpy() * 4 - 2, kind="float", bits=32, low=0.0, high=1.0, as_seen=True, source="as seen"
    )
    with pytest.raises(CohortError, match="its own mean and deviation"):
        render(stored, ALONE, 8, 1)


@pytest.mark.parametrize("truth", [ALONE, at(QUARTER, 32)], ids=["each by itself", "all alike"])
def test_statistics_tell_whether_each_film_was_standardised(truth: PreprocessSpec) -> None:
    films = exposed(raw_films(24, 0))
    side = 32 if truth.per_film == "none" else None
    found = fit_preprocess(remembering(films[:8], truth), films_at(films), side=side, ways=Ways(per_film=EITHER))
    assert found is not None
    assert (found.best.per_film, found.best.side) == (truth.per_film, 32)


def test_a_stretch_of_8_bit_films_is_tried_where_it_would_change_them() -> None:
    films = exposed(raw_films(24, 0))
    assert Specimens(films).ways().late == (STRETCHED,)
    full = tuple(replace(film, pixels=np.where(np.eye(96) > 0, [[0, 255] * 48], film.pixels)) for film in films)
    assert Specimens(full).ways().late == ()
    assert Specimens(tuple(replace(film, kind="integer") for film in films)).ways().late == ()


def test_statistics_tell_that_each_film_was_stretched() -> None:
    films = exposed(raw_films(24, 0))
    target = remembering(films[:8], at(QUARTER, 32, scaling=STRETCHED))
    found = fit_preprocess(target, films_at(films), side=32, ways=Ways(per_film=EITHER, late=(STRETCHED,)))
    assert found is not None
    assert (found.best.scaling, found.best.per_film) == (STRETCHED, "none")
    assert np.allclose(found.best.std, QUARTER.std, rtol=0.02)


def test_answers_tell_it_too_and_members_are_hidden_without_it() -> None:
    films, strangers = exposed(raw_films(MEMBERS, 0)), exposed(raw_films(96, 9))
    target = taught(films, ALONE)
    found = fit_by_answers(target, films_at(films), words(MEMBERS), side=32, ways=Ways(per_film=EITHER))
    assert found is not None
    assert found.best.per_film == "zscore"
    doubted = hidden_membership(target, at(QUARTER, 32), (), Specimens(films), Specimens(strangers))
    assert isinstance(doubted.measurement, Measured)
    assert doubted.measurement.value > 1.0
    assert doubted.best is not None
    assert doubted.best.per_film == "zscore"


def test_answers_of_a_network_that_saw_all_films_alike_do_not_ask_for_it() -> None:
    films = raw_films(MEMBERS, 0)
    found = fit_by_answers(taught(films), films_at(films), words(MEMBERS), side=32, ways=Ways(per_film=EITHER))
    assert found is not None
    assert found.best.per_film == "none"


def test_declared_values_are_those_of_films_as_they_are_unless_they_say_otherwise() -> None:
    films = exposed(raw_films(24, 0))
    target = remembering(films[:8], ALONE)
    fit = PreprocessFit(best=ALONE, by="statistics", films=24)
    asked, ended = Asked(Specimens(films), fit), Pace(Meter(0.0, None), SilentObserver())
    stated = choose_preprocessing(target, PreprocessPolicy(declared=at(UNIT, 32)), asked, ended).spec
    assert (stated.per_film, stated.mean, stated.std) == ("none", (0.0,), (1.0,))
    assert choose_preprocessing(target, PreprocessPolicy(declared=ALONE), asked).spec.per_film == "zscore"


def test_a_policy_says_it_in_a_word_and_a_report_in_the_same() -> None:
    policy = parse_policy(tomllib.loads('[preprocess]\nside = 32\nper_film = "zscore"\n'))
    assert policy.preprocess.declared is not None
    assert (policy.preprocess.declared.per_film, policy.preprocess.values) == ("zscore", "inferred")
    assert parse_policy(tomllib.loads(ALONE.toml())).preprocess.declared == ALONE.model_copy(update={"invert": False})
