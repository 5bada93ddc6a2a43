"""Preprocessing asked of the answers: a network without statistics that knows its films by heart."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_network_preprocessing import at, films_at, raw_films
from torch import nn

from reid_audit.arch.target import Target
from reid_audit.audit.preprocessing import ask_network, choose_preprocessing, drawn
from reid_audit.audit.preprocessing_control import preprocessing_control, stricter
from reid_audit.audit.request import Films
from reid_audit.budget import Meter, OutOfTime, Pace
from reid_audit.cohort import Cohort, Frame, RawFilm
from reid_audit.cohort.sample import Sample
from reid_audit.network.answer_fit import _changed, answer_errors, fit_by_answers
from reid_audit.network.answers import outputs_under
from reid_audit.network.search import MANY
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import to_network
from reid_audit.records import ArchMatch, Measured, Metric, PreprocessPolicy, PreprocessSpec, Reason, Unmeasured

TRUTH = PreprocessSpec(mean=(0.7,), std=(0.06,), side=32)
"""Steep, so that other values change the answers."""
MEMBERS = 48


def words(count: int) -> NDArray[np.str_]:
    return np.array(["F", "M"] * (count // 2 + 1), dtype=np.str_)[:count]


@cache
def by_heart() -> Target:
    """A convolutional network without normalisation that has learned ``MEMBERS`` films under ``TRUTH``."""
    return taught(raw_films(MEMBERS, 0))


def taught(films: tuple[RawFilm, ...], spec: PreprocessSpec = TRUTH) -> Target:
    """The same of other films, and under another preprocessing at the same side."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for inside, outside in ((1, 24), (24, 32), (32, 48)):
        layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.Tanh()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(192, 2))
    inputs = to_network(films_at(films)(spec, len(films)), spec, 1)
    labels = torch.from_numpy((words(len(films)) == "M").astype(np.int64))
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(150):
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(module(inputs), labels))
        optimiser.step()
    match = ArchMatch(name="small", library="tests", family="convnet", coverage=1.0, classes=2, channels=1, side=224)
    return Target(module.eval().requires_grad_(False), match)


def of_known_side() -> Target:
    """The same where the file tells its side, so that no other is searched."""
    known = by_heart()
    return replace(known, match=known.match.model_copy(update={"side": 32, "side_by": "weights"}))


def cohorts(others: int, labels: NDArray[np.str_] | None = None) -> Films:
    """Films of both cohorts: the members and ``others`` films that the network never saw."""
    members, strangers = raw_films(MEMBERS, 0), raw_films(others, 9)
    shown = words(MEMBERS) if labels is None else labels

    def raw(sides: tuple[str, ...], count: int, _: object) -> Sample:
        films = (*(members if "reference" in sides else ()), *(strangers if "holdout" in sides else ()))
        said = np.concatenate(
            [shown if "reference" in sides else shown[:0], words(others if "holdout" in sides else 0)]
        )
        order = np.random.default_rng(0).permutation(len(films))[:count]
        return Sample(tuple(films[i] for i in order), said[order])

    return Films(reference=_framed, holdout=_framed, raw=raw)


def _framed(_: Frame) -> Cohort:
    raise AssertionError("these films are read raw")


def mean_error(spec: PreprocessSpec) -> float:
    target = by_heart()
    outputs = outputs_under(target, films_at(raw_films(MEMBERS, 0))(spec, MEMBERS), spec)
    assert outputs is not None
    found = answer_errors("softmax", outputs, words(MEMBERS))
    assert found is not None
    return float(found.mean())


def test_the_network_was_taught_under_the_truth_and_fails_under_other_values() -> None:
    assert mean_error(TRUTH) < 0.05
    assert mean_error(TRUTH.model_copy(update={"invert": True})) > 0.3


def test_the_members_tell_odd_values_and_the_side() -> None:
    films = films_at(raw_films(MEMBERS, 0))
    found = fit_by_answers(by_heart(), films, words(MEMBERS), side=None)
    assert found is not None
    assert found.complete
    assert mean_error(found.best) < mean_error(TRUTH) + 0.05
    assert found.best.side == pytest.approx(32, abs=8)


def test_the_part_that_was_kept_of_the_films_is_found() -> None:
    films = raw_films(MEMBERS, 0)
    cut = tuple(replace(film, pixels=np.ascontiguousarray(film.pixels[14:-14])) for film in films)
    target = taught(cut)
    shown = fit_by_answers(target, films_at(films), words(MEMBERS), side=32)
    assert shown is not None
    assert shown.best.keep is not None
    left, top, right, bottom = shown.best.keep
    assert (left, right) == pytest.approx((0.0, 1.0), abs=0.07)
    assert (top, bottom) == pytest.approx((14 / 96, 82 / 96), abs=0.07)


def test_more_films_than_are_asked_are_no_hindrance() -> None:
    target = of_known_side()
    asked = ask_network(target, None, drawn(target, None, cohorts(MANY)))
    assert asked.fit is not None
    assert asked.fit.by == "answers"
    assert asked.fit.films <= MANY


def test_without_labels_there_is_nothing_to_ask() -> None:
    films = films_at(raw_films(MEMBERS, 0))
    assert fit_by_answers(by_heart(), films, np.full(MEMBERS, "", dtype=np.str_), side=32) is None


def control(declared: PreprocessSpec | None, labels: NDArray[np.str_] | None = None) -> Measured | Unmeasured:
    target, films = of_known_side(), cohorts(16, labels)
    asked = ask_network(target, declared, drawn(target, declared, films))
    chosen = choose_preprocessing(target, PreprocessPolicy(declared=declared), asked)
    return preprocessing_control(target, chosen, films, np.random.default_rng(0)).measurement


def test_the_control_is_met_under_the_truth() -> None:
    found = control(TRUTH)
    assert isinstance(found, Measured)
    assert found.value <= 1.0


@pytest.mark.parametrize(
    "wrong", [{"invert": True}, {"std": (0.6,)}, {"mean": (0.2,)}], ids=["inverted", "deviation", "mean"]
)
def test_a_wrong_declaration_does_not_meet_the_control(wrong: dict[str, object]) -> None:
    """Answers at chance are no excuse where another preprocessing shows what the network knows."""
    found = control(at(TRUTH, 32, **wrong))
    assert isinstance(found, Measured)
    assert found.value > 1.0


def test_answers_that_do_not_tell_the_labels_show_nothing() -> None:
    shuffled = np.random.default_rng(3).permutation(words(MEMBERS))
    found = control(TRUTH, shuffled)
    assert isinstance(found, Unmeasured)
    assert found.reason is Reason.PREPROCESS_UNEXPLAINED


def test_a_search_that_the_time_ends_is_not_complete() -> None:
    clock = iter(range(10**6))
    films = films_at(raw_films(MEMBERS, 0))
    pace = Pace(Meter(seconds=20, steps=None, clock=lambda: float(next(clock))), SilentObserver())
    found = fit_by_answers(by_heart(), films, words(MEMBERS), side=32, pace=pace)
    assert found is not None
    assert not found.complete
    late = Pace(Meter(seconds=0, steps=None, clock=lambda: 0.0), SilentObserver())
    with pytest.raises(OutOfTime):
        fit_by_answers(by_heart(), films, words(MEMBERS), side=32, pace=late)


@pytest.mark.parametrize("start", [TRUTH, at(TRUTH, 32, invert=True), at(TRUTH, 32, mean=(0.7, 0.5, 0.4))])
def test_refined_values_scale_and_shift_what_the_network_sees(start: PreprocessSpec) -> None:
    films = films_at(raw_films(4, 0))(at(TRUTH, 32), 4)
    before, after = (to_network(films, spec, 3) for spec in (start, _changed(start, 3, 0.3, -0.7)))
    assert torch.allclose(after, before * np.exp(0.3) - 0.7, atol=0.02 * float(before.abs().max()))


def test_a_number_is_judged_by_the_variance_it_leaves() -> None:
    ages = np.linspace(20, 80, 40)
    shown = torch.from_numpy((ages - 50) / 20)[:, None]
    said = np.array([f"{age:g}" for age in ages], dtype=np.str_)
    right = answer_errors("regression", shown, said)
    assert right is not None
    assert right.mean() < 1e-6
    blind = answer_errors("regression", torch.randn(40, 1, generator=torch.Generator().manual_seed(0)), said)
    assert blind is not None
    assert 0.7 < blind.mean() <= 1.0
    assert answer_errors("regression", shown, np.full(40, "F", dtype=np.str_)) is None


@pytest.mark.parametrize(("answers", "counts"), [(2.0, 2.0), (0.1, 0.4)])
def test_beside_statistics_the_stricter_of_both_counts(answers: float, counts: float) -> None:
    statistics = Measured(metric=Metric.PREPROCESS_FIT, value=0.4)
    found = stricter(statistics, Measured(metric=Metric.PREPROCESS_FIT, value=answers))
    assert isinstance(found, Measured)
    assert found.value == counts
    silent = Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.PREPROCESS_UNEXPLAINED)
    assert stricter(statistics, silent) == statistics
    assert stricter(silent, statistics) == silent
