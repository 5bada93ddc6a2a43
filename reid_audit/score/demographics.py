"""Age and sex: does a reconstruction agree with its nearest training patient more than with its nearest hold-out one?

Whoever resembles an image tends to share its age and sex, so agreement alone is no evidence: the control is the
agreement with equally many hold-out patients (docs/demographics.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from reid_audit.imaging.stack import Stack
from reid_audit.records import Measured, Measurement, Metric, PredictorCard, Reason, Unmeasured
from reid_audit.score.calibration import Bools, Floats, exceedance_p, permuted_labels
from reid_audit.score.comparison import Comparison
from reid_audit.score.likelihood import matched_nearest
from reid_audit.score.linkage import FEWEST
from reid_audit.score.patients import Pool, pool
from reid_audit.score.predictors import OLDEST, Predictors, known_ages, sex_codes

SMALL = 10
"""Reconstructions below which agreement is shown to the auditor but decides nothing."""
AGE = (Metric.AGE_MAE_RECONSTRUCTION, Metric.AGE_MAE_NEAREST, Metric.AGE_MAE_BASE)
SEX = (Metric.SEX_ACCURACY_RECONSTRUCTION, Metric.SEX_ACCURACY_NEAREST, Metric.SEX_ACCURACY_BASE)
DEMOGRAPHICS = (*AGE, *SEX)
"""The metrics ``demographics`` produces, in its order."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reconstruction beside its nearest training film. Restricted. NaN and "" where unknown."""

    reconstruction: int
    """Row of the images."""
    film: int
    """Column of the pooled films."""
    age_reconstruction: float
    age_nearest: float
    age_true: float
    sex_reconstruction: str
    sex_nearest: str
    sex_true: str


@dataclass(frozen=True, slots=True, eq=False)
class DemographicOutcome:
    """Agreement in age and sex. ``measurements`` may be published (cells under 10 suppressed); ``readings`` not."""

    measurements: tuple[Measurement, ...]
    readings: tuple[Reading, ...] = ()
    predictor: PredictorCard | None = None
    """The predictor that read age and sex; None where there was none."""


def demographics(
    comparison: Comparison,
    images: Tensor,
    predictors: Predictors | None,
    rng: np.random.Generator,
    *,
    permutations: int = 499,
    draws: int = 1000,
) -> DemographicOutcome:
    """Read age and sex from reconstructions; compare with the truth of the nearest training and hold-out patient.

    ``*_reconstruction`` compares what is read from each of the attack's images [R, C, H, W] with the truth of its
    nearest training patient; its control is the nearest of equally many hold-out patients (averaged over subsets in
    closed form, as in ``likely_samples``). ``*_nearest`` compares what is read from the nearest film itself with its
    truth, which is the predictor's own error. ``*_base`` compares the training patients' median age, or majority sex,
    with the same truths. One film of each patient takes part.

    ``low`` and ``high`` minus ``control`` bound the excess over the control: they are the hull of the interval from
    permuting patients (who share neighbours) and of the bootstrap over reconstructions. ``p`` of ``*_reconstruction``
    holds that excess against labels permuted over patients. ``n`` is the number of reconstructions, or of distinct
    patients nearest to them where that is smaller, so that no published figure is about fewer than 10 people.

    Figures are indicators below ``SMALL`` reconstructions, or where nobody knows whether the predictor has seen the
    cohorts. They are unmeasured where it has, because it would favour that side.
    """
    films, is_member = comparison.images, comparison.is_member
    card = None if predictors is None else predictors.card
    if predictors is not None and predictors.card.overlap == "overlap":
        return DemographicOutcome(without_demographics(Reason.PREDICTOR_OVERLAP), predictor=card)
    truths = known_ages(comparison.ages), sex_codes(comparison.sexes)
    near = comparison.near(images).double().numpy() if len(images) else np.zeros((0, len(films)))
    read = _read(predictors, images, films)
    weak = len(images) < SMALL or (card is not None and card.overlap == "unknown")
    found: list[tuple[Measurement, ...]] = []
    for metrics, none, truth, readings in zip((AGE, SEX), (Reason.NO_AGES, Reason.NO_SEXES), truths, read, strict=True):
        known = np.isfinite(truth)
        missing = _missing(known, is_member, near, readings is None, none)
        if missing is not None or readings is None:
            found.append(without_demographics(missing or Reason.NO_PREDICTOR, metrics))
            continue
        people = pool(comparison.owners.at(known), near[:, known], rng, most=1)
        if min(people.members, people.others) < FEWEST:
            short = Reason.TOO_FEW_REFERENCE if people.members < FEWEST else Reason.TOO_FEW_HOLDOUT
            found.append(without_demographics(short, metrics))
            continue
        columns = np.flatnonzero(known)[people.films]
        table = _Table(near[:, columns], truth[columns], readings[0], readings[1][columns], people)
        found.append(_agreement(metrics, table, permutations, draws, rng, weak))
    rows = _readings(near, is_member, truths, read) if predictors is not None else ()
    return DemographicOutcome((*found[0], *found[1]), rows, card)


def without_demographics(reason: Reason, metrics: tuple[Metric, ...] = DEMOGRAPHICS) -> tuple[Measurement, ...]:
    """Every demographic metric, unmeasured for one reason."""
    return tuple(Unmeasured(metric=metric, reason=reason) for metric in metrics)


def _missing(known: Bools, is_member: Bools, near: Floats, no_model: bool, none: Reason) -> Reason | None:
    """Why nothing can be compared, the cohorts' reasons first."""
    if not (known & is_member).any() or not (known & ~is_member).any():
        return none
    if no_model:
        return Reason.NO_PREDICTOR
    return None if len(near) else Reason.NOT_COMPUTED


def _read(predictors: Predictors | None, images: Tensor, gallery: Stack) -> list[tuple[Floats, Floats] | None]:
    """Age, then sex (1 for M, 0 for F), of reconstructions [R] and images of films [N]; None where nothing reads it."""
    if predictors is None:
        return [None, None]
    (made_age, made_sex), (seen_age, seen_sex) = predictors.read(images), predictors.read(gallery)
    return [
        None if made_age is None or seen_age is None else (made_age, seen_age),
        None
        if made_sex is None or seen_sex is None
        else ((made_sex > 0).astype(np.float64), (seen_sex > 0).astype(np.float64)),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """One question (age or sex) about R reconstructions and P patients."""

    near: Floats
    """[R, P]"""
    truth: Floats
    """[P]"""
    made: Floats
    """[R] read from the reconstructions."""
    seen: Floats
    """[P] read from the patients' films."""
    people: Pool

    def differences(self, base: float) -> Floats:
        """[3, R, P] |reading - truth| for the reconstruction, the nearest film and the base rate."""
        rows = len(self.near)
        return np.abs(
            np.stack(
                [
                    self.made[:, None] - self.truth,
                    np.tile(self.seen - self.truth, (rows, 1)),
                    np.tile(base - self.truth, (rows, 1)),
                ]
            )
        )


def _agreement(
    metrics: tuple[Metric, ...], table: _Table, permutations: int, draws: int, rng: np.random.Generator, weak: bool
) -> tuple[Measurement, ...]:
    """The three measurements of one question, the first with its one-sided p; ``weak``: indicators only."""
    people, sex = table.people, metrics is SEX
    of_members = table.truth[people.is_member]
    base = float(of_members.mean() >= 0.5) if sex else float(np.median(of_members))
    values = table.differences(base)
    values = 1.0 - values if sex else values
    labels = np.vstack([people.is_member[None], *permuted_labels(people.is_member, people.strata, permutations, rng)])
    training, holdout = (
        np.stack(side, axis=1)
        for side in zip(
            *(
                (values[:, row, order] @ in_t.T, values[:, row, order] @ in_h.T)
                for row, (order, in_t, in_h) in enumerate(matched_nearest(table.near, labels))
            ),
            strict=True,
        )
    )
    count = len(table.near)
    weights = rng.multinomial(count, np.full(count, 1 / count), draws) / count
    nearest = np.where(people.is_member, table.near, -np.inf).argmax(axis=1)
    n = min(count, np.unique(nearest).size)
    measured = [
        _beside_control(metric, training[i], holdout[i], weights, n, weak, 1.0 if sex else OLDEST)
        for i, metric in enumerate(metrics[:2])
    ]
    low, high = np.quantile(weights @ training[2, :, 0], (0.025, 0.975))
    guess = Measured(
        metric=metrics[2], value=float(training[2, :, 0].mean()), low=float(low), high=float(high), n=n,
        indicator=weak,
    )  # fmt: skip
    excess = (training[0] - holdout[0]).mean(axis=0) * (1 if sex else -1)
    first = measured[0].model_copy(update={"p": exceedance_p(float(excess[0]), excess[1:])})
    return (first, *measured[1:], guess)


def _beside_control(
    metric: Metric, training: Floats, holdout: Floats, weights: Floats, n: int, indicator: bool, most: float
) -> Measured:
    """training, holdout: [R, 1 + B], the first column observed; weights: [D, R] bootstrap draws; most: largest."""
    excess = training - holdout
    observed, null = float(excess[:, 0].mean()), excess[:, 1:].mean(axis=0)
    resampled = np.quantile(weights @ excess[:, 0], (0.025, 0.975))
    shifted = observed - np.quantile(null, (0.975, 0.025))
    control = float(holdout[:, 0].mean())
    return Measured(
        metric=metric,
        value=float(training[:, 0].mean()),
        low=max(0.0, control + float(min(resampled[0], shifted[0]))),
        high=min(most, control + float(max(resampled[1], shifted[1]))),
        control=control,
        n=n,
        indicator=indicator,
    )


def _readings(
    near: Floats, is_member: Bools, truths: tuple[Floats, Floats], read: list[tuple[Floats, Floats] | None]
) -> tuple[Reading, ...]:
    """The study's table: every reconstruction beside the most similar of all training films."""
    if not len(near) or not is_member.any():
        return ()
    members = np.flatnonzero(is_member)
    films = members[near[:, members].argmax(axis=1)]
    blank = np.full(near.shape[0], np.nan), np.full(near.shape[1], np.nan)
    age, sex = (blank if values is None else values for values in read)
    return tuple(
        Reading(
            reconstruction=row,
            film=int(film),
            age_reconstruction=float(age[0][row]),
            age_nearest=float(age[1][film]),
            age_true=float(truths[0][film]),
            sex_reconstruction=_letter(sex[0][row]),
            sex_nearest=_letter(sex[1][film]),
            sex_true=_letter(truths[1][film]),
        )
        for row, film in enumerate(films)
    )


def _letter(code: float) -> str:
    return "" if np.isnan(code) else "M" if code else "F"
