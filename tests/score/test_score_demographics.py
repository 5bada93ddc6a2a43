"""Age and sex read from reconstructions: predictors, planted leaks, and no alarm without a leak."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from phantom_cohorts import SIDE, people, smooth_images
from scipy import ndimage, stats
from torch import Tensor

from reid_audit.artefacts.provenance import Declaration
from reid_audit.judge import exceeds_fail
from reid_audit.records import Measured, Measurement, Metric, Policy, Reason, Unmeasured, find
from reid_audit.score.comparison import Comparison
from reid_audit.score.demographics import (
    DEMOGRAPHICS,
    DemographicOutcome,
    demographics,
)
from reid_audit.score.patients import Owners
from reid_audit.score.predictors import Predictors, fit_predictors, known_ages
from reid_audit.score.similarity import MatchSpace, fit_match_space

DRAWS = 300
GATE = next(gate for gate in Policy().gates if gate.metric is Metric.SEX_ACCURACY_RECONSTRUCTION)


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Pooled films whose brightness pattern tells age and sex, apart from noise."""

    films: Tensor
    ages: NDArray[np.float64]
    sexes: NDArray[np.str_]
    patients: NDArray[np.str_]
    is_member: NDArray[np.bool_]

    def beside(self, space: MatchSpace) -> Comparison:
        owners = Owners(self.patients, self.is_member)
        return Comparison(self.films, owners, space, self.ages, self.sexes, np.full(len(self.films), ""))


def _traits(films: Tensor, first: NDArray[np.int64], owner: NDArray[np.int64], rng: np.random.Generator) -> Crowd:
    """One age and one sex per patient, from two fixed smooth patterns in the patient's first film."""
    noise = np.random.default_rng(99).standard_normal((2, SIDE, SIDE))
    patterns = ndimage.gaussian_filter(noise, (0, 3.5, 3.5), mode="wrap").reshape(2, -1)
    flat = films[torch.from_numpy(first)].flatten(1).numpy() - 0.5
    signal = flat @ patterns.T
    signal = signal / signal.std(axis=0) + 0.5 * rng.standard_normal(signal.shape)
    ages = np.clip(55 + 12 * signal[:, 0], 1, 95)
    sexes = np.where(signal[:, 1] > 0, "M", "F")
    return Crowd(films, ages[owner], sexes[owner], np.char.add("p", owner.astype(np.str_)), np.zeros(owner.size, bool))


def crowd(members: int, others: int, rng: np.random.Generator, films: tuple[int, int] = (3, 2)) -> Crowd:
    drawn = people(members, others, rng, films=films)
    _, first, owner = np.unique(drawn.patients, return_index=True, return_inverse=True)
    said = _traits(drawn.images, first, owner, rng)
    return Crowd(drawn.images, said.ages, said.sexes, drawn.patients, drawn.is_member)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    space: MatchSpace
    predictors: Predictors


@pytest.fixture(scope="module")
def known() -> Known:
    rng = np.random.default_rng(0)
    films = smooth_images(400, rng)
    said = _traits(films, np.arange(400), np.arange(400), rng)
    predictors = fit(films, said)
    assert predictors is not None
    assert predictors.card.overlap == "unknown"
    return Known(fit_match_space(films, components=60), seen(predictors, "disjoint"))


def fit(films: Tensor, said: Crowd) -> Predictors | None:
    return fit_predictors(
        films, said.ages, said.sexes, said.patients, Declaration("fitted"), torch.Generator().manual_seed(0)
    )


def seen(predictors: Predictors, overlap: str) -> Predictors:
    return replace(predictors, card=predictors.card.model_copy(update={"overlap": overlap}))


def ask(
    known: Known,
    images: Tensor,
    c: Crowd,
    rng: np.random.Generator,
    *,
    predictors: Predictors | None = None,
    **more: Any,
) -> DemographicOutcome:
    return demographics(c.beside(known.space), images, predictors or known.predictors, rng, **more)


def measured(outcome: DemographicOutcome, metric: Metric) -> Measured:
    found: Measurement = find(outcome.measurements, metric)
    assert isinstance(found, Measured)
    return found


def test_predictors_read_what_is_there(known: Known) -> None:
    c = crowd(150, 150, np.random.default_rng(1), films=(1, 1))
    years, scores = known.predictors.read(c.films)
    assert years is not None
    assert scores is not None
    error = np.abs(years - c.ages).mean()
    assert error < 0.85 * np.abs(np.median(c.ages) - c.ages).mean()
    right = np.mean((scores > 0) == (c.sexes == "M"))
    assert right > 0.75
    card = known.predictors.card
    assert card.age_mae == pytest.approx(error, rel=0.25), "cross-validation tells what other people will see"
    assert card.sex_accuracy == pytest.approx(right, abs=0.1)
    assert (card.images, card.patients) == (400, 400)


def test_readings_stay_within_the_ages_seen(known: Known) -> None:
    years, _ = known.predictors.read(1e3 * torch.randn(50, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    assert years is not None
    assert years.min() >= 1
    assert years.max() <= 95


def test_no_predictor_from_too_few_films_and_each_trait_on_its_own() -> None:
    rng = np.random.default_rng(2)
    films = smooth_images(80, rng)
    said = _traits(films, np.arange(80), np.arange(80), rng)
    few = Crowd(films[:49], said.ages[:49], said.sexes[:49], said.patients[:49], said.is_member[:49])
    assert fit(films[:49], few) is None
    no_age = fit(films, replace(said, ages=np.full(80, np.nan)))
    assert no_age is not None
    assert no_age.age is None
    assert no_age.sex is not None
    assert no_age.card.age_mae is None
    all_men = fit(films, replace(said, sexes=np.full(80, "M")))
    assert all_men is not None
    assert all_men.sex is None
    assert fit(films, replace(said, patients=np.full(80, "p"))) is None


def test_names_change_no_predictor() -> None:
    rng = np.random.default_rng(3)
    films = smooth_images(120, rng)
    said = _traits(films, np.arange(120) // 2 * 2, np.arange(120) // 2, rng)
    renamed = replace(said, patients=np.char.add("z", (999 - np.arange(120) // 2).astype(np.str_)))
    first, second = fit(films, said), fit(films, renamed)
    assert first is not None
    assert second is not None
    assert first.card.sha256 == second.card.sha256


def test_ages_that_are_codes_are_unknown() -> None:
    assert np.isnan(known_ages(np.array([-1.0, 411.0, np.nan, np.inf]))).all()
    assert known_ages(np.array([0.0, 94.0])).tolist() == [0.0, 94.0]


def test_reconstructions_of_training_patients_agree_with_them_beyond_the_control(known: Known) -> None:
    rng = np.random.default_rng(4)
    c = crowd(120, 120, rng, films=(1, 1))
    images = 0.9 * c.films[:60] + 0.1 * smooth_images(60, rng)
    outcome = ask(known, images, c, rng)
    sex = measured(outcome, Metric.SEX_ACCURACY_RECONSTRUCTION)
    assert sex.control is not None
    assert sex.low is not None
    assert sex.value > 0.75
    assert sex.value > sex.control
    assert sex.p is not None
    assert sex.p <= 0.05
    age = measured(outcome, Metric.AGE_MAE_RECONSTRUCTION)
    assert age.control is not None
    assert age.value < age.control
    assert age.value < measured(outcome, Metric.AGE_MAE_BASE).value
    nearest = measured(outcome, Metric.AGE_MAE_NEAREST)
    assert nearest.value == pytest.approx(age.value, rel=0.3)
    assert [r.film for r in outcome.readings] == list(range(60))
    assert {r.sex_true for r in outcome.readings} == {"M", "F"}
    assert outcome.readings[3].age_true == pytest.approx(c.ages[3])


def test_an_opposite_sex_control_breaches_the_gate(known: Known) -> None:
    """All training patients men, all hold-out women, reconstructions of men: the gate must be able to fail."""
    rng = np.random.default_rng(5)
    c = crowd(400, 400, rng, films=(1, 1))
    keep = c.is_member == (c.sexes == "M")
    c = Crowd(c.films[torch.from_numpy(keep)], c.ages[keep], c.sexes[keep], c.patients[keep], c.is_member[keep])
    outcome = ask(known, c.films[:40], c, rng)
    assert exceeds_fail(measured(outcome, Metric.SEX_ACCURACY_RECONSTRUCTION), GATE)
    assert measured(outcome, Metric.SEX_ACCURACY_BASE).value == 1.0


@pytest.mark.parametrize(("members", "others", "images"), [(60, 60, 24), (12, 60, 12)])
def test_without_a_leak_the_gate_stays_silent(known: Known, members: int, others: int, images: int) -> None:
    """New people, splits and prior samples in every draw; the samples crowd around few patients in half of them."""
    breaches, p = 0, []
    for seed in range(DRAWS):
        rng = np.random.default_rng(20_000 + seed)
        c = crowd(members, others, rng)
        drawn = smooth_images(images, rng)
        if seed % 2:
            drawn = drawn[:2].repeat(images // 2, 1, 1, 1)
        outcome = ask(known, drawn, c, rng, permutations=99, draws=100)
        sex = measured(outcome, Metric.SEX_ACCURACY_RECONSTRUCTION)
        breaches += exceeds_fail(sex, GATE)
        age = measured(outcome, Metric.AGE_MAE_RECONSTRUCTION)
        assert sex.p is not None
        assert age.p is not None
        p += [age.p]
    assert breaches <= stats.binom.ppf(0.999, DRAWS, 0.01)
    assert np.mean(np.array(p) <= 0.05) <= stats.binom.ppf(0.9995, len(p), 0.05) / len(p)


def test_what_is_missing_is_named(known: Known) -> None:
    rng = np.random.default_rng(6)
    c = crowd(20, 20, rng)
    images = smooth_images(12, rng)

    def reasons(outcome: DemographicOutcome) -> dict[Metric, Reason]:
        return {m.metric: m.reason for m in outcome.measurements if isinstance(m, Unmeasured)}

    blind = demographics(c.beside(known.space), images, None, rng)
    assert reasons(blind) == dict.fromkeys(DEMOGRAPHICS, Reason.NO_PREDICTOR)
    ageless = Crowd(c.films, np.full(c.ages.size, np.nan), c.sexes, c.patients, c.is_member)
    assert set(reasons(ask(known, images, ageless, rng)).values()) == {Reason.NO_AGES}
    sexless = Crowd(c.films, c.ages, np.where(c.is_member, c.sexes, ""), c.patients, c.is_member)
    found = ask(known, images, sexless, rng)
    assert set(reasons(found).values()) == {Reason.NO_SEXES}
    assert isinstance(find(found.measurements, Metric.AGE_MAE_BASE), Measured)
    assert set(reasons(ask(known, images[:0], c, rng)).values()) == {Reason.NOT_COMPUTED}
    only_age = replace(known.predictors, sex=None)
    assert reasons(ask(known, images, c, rng, predictors=only_age)) == dict.fromkeys(
        DEMOGRAPHICS[3:], Reason.NO_PREDICTOR
    )
    one = Crowd(c.films, np.where(c.patients == c.patients[0], c.ages, c.ages * ~c.is_member - 1.0 * c.is_member),
                c.sexes, c.patients, c.is_member)  # fmt: skip
    assert set(reasons(ask(known, images, one, rng)).values()) == {Reason.TOO_FEW_REFERENCE}


def test_few_reconstructions_or_few_people_cannot_be_published_or_decide(known: Known) -> None:
    rng = np.random.default_rng(7)
    c = crowd(40, 40, rng)
    few = measured(ask(known, smooth_images(9, rng), c, rng), Metric.SEX_ACCURACY_RECONSTRUCTION)
    assert few.indicator
    assert few.n is not None
    assert few.n < 10
    assert few.low is not None
    assert few.high is not None
    assert 0.0 <= few.low <= few.value <= few.high <= 1.0
    twins = smooth_images(2, rng).repeat(20, 1, 1, 1)
    crowded = measured(ask(known, twins, c, rng), Metric.SEX_ACCURACY_RECONSTRUCTION)
    assert crowded.n == 2
    assert not crowded.indicator


def test_a_predictor_that_has_seen_a_side_does_not_decide(known: Known) -> None:
    rng = np.random.default_rng(8)
    c = crowd(40, 40, rng)
    images = smooth_images(20, rng)
    contaminated = ask(known, images, c, rng, predictors=seen(known.predictors, "overlap"))
    assert {m.reason for m in contaminated.measurements if isinstance(m, Unmeasured)} == {Reason.PREDICTOR_OVERLAP}
    assert len(contaminated.measurements) == len(DEMOGRAPHICS)
    assert contaminated.readings == ()
    assert contaminated.predictor is not None
    unsure = ask(known, images, c, rng, predictors=seen(known.predictors, "unknown"))
    assert all(m.indicator for m in unsure.measurements if isinstance(m, Measured))
    sure = ask(known, images, c, rng)
    assert not any(m.indicator for m in sure.measurements if isinstance(m, Measured))
