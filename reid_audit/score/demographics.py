"""Age and sex: does a reconstruction agree with its nearest training patient more than with its nearest hold-out one?

Whoever resembles an image tends to share its age and sex, so agreement alone is no evidence: the control is the
agreement with equally many hold-out patients (statistics.md, "Demographics").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold
from torch import Tensor

from reid_audit.records import Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.calibration import Bools, Floats, exceedance_p, permuted_labels
from reid_audit.score.likelihood import matched_nearest
from reid_audit.score.linkage import FEWEST
from reid_audit.score.patients import Pool, pool
from reid_audit.score.similarity import MatchSpace, cosines

FILMS = 50
"""Films with a known age (or sex) below which no predictor is fitted."""
FOLDS = 5
SMALL = 10
"""Reconstructions below which agreement is shown to the auditor but decides nothing."""
OLDEST = 120.0
"""Larger ages are codes for unknown."""
_PENALTIES = np.logspace(0, 4, 9)
"""Ridge penalties tried."""
_INVERSE_PENALTIES = np.logspace(-3, 0, 7)
"""Values of C tried in the logistic regression."""
AGE = (Metric.AGE_MAE_RECONSTRUCTION, Metric.AGE_MAE_NEAREST, Metric.AGE_MAE_BASE)
SEX = (Metric.SEX_ACCURACY_RECONSTRUCTION, Metric.SEX_ACCURACY_NEAREST, Metric.SEX_ACCURACY_BASE)
DEMOGRAPHICS = (*AGE, *SEX)
"""The metrics ``demographics`` produces, in its order."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """weights * scores + intercept, kept within the range seen in fitting."""

    weights: Floats
    """[K]"""
    intercept: float
    low: float
    high: float

    def predict(self, scores: Floats) -> Floats:
        """[N, K] match-space scores -> [N]."""
        return np.clip(scores @ self.weights + self.intercept, self.low, self.high)


@dataclass(frozen=True, slots=True, eq=False)
class Predictors:
    """What can be read from an image; None where the prior's films did not say enough."""

    age: LinearModel | None
    """Years."""
    sex: LinearModel | None
    """Log-odds of M."""


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
    age_p: float | None = None
    """Permutation p, over patients, that the age error is no smaller for training patients."""
    sex_p: float | None = None
    """The same for agreement in sex."""


def fit_predictors(
    space: MatchSpace, films: Tensor, ages: Floats, sexes: NDArray[np.str_], patients: NDArray[np.str_]
) -> Predictors | None:
    """Ridge regression for age, logistic regression for sex, on the match-space scores of the prior's films.

    Penalties by patient-grouped 5-fold cross-validation. Never fitted on T or H: that would favour the side it saw.
    films [N, C, H, W]; ages [N] years, NaN where unknown; sexes [N] "M", "F" or ""; patients [N].
    Each is None below ``FILMS`` films that tell it, ages of 5 patients, or 10 patients of either sex; both: None.
    """
    scores = space.scores(films).double().numpy()
    groups = _by_appearance(patients)
    age = _fit_age(scores, known_ages(ages), groups)
    sex = _fit_sex(scores, sex_codes(sexes), groups)
    return None if age is None and sex is None else Predictors(age, sex)


def known_ages(ages: Floats) -> Floats:
    """[N] years, NaN for everything that cannot be an age."""
    values = np.asarray(ages, dtype=np.float64)
    return np.where((values >= 0) & (values <= OLDEST), values, np.nan)


def sex_codes(sexes: NDArray[np.str_]) -> Floats:
    """[N] 1 for M, 0 for F, NaN for anything else."""
    return np.where(sexes == "M", 1.0, np.where(sexes == "F", 0.0, np.nan))


def _by_appearance(patients: NDArray[np.str_]) -> NDArray[np.int64]:
    """Patients numbered as they are met, so that folds do not depend on names."""
    _, first, codes = np.unique(patients, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[codes.reshape(-1)], dtype=np.int64)


def _fit_age(scores: Floats, ages: Floats, groups: NDArray[np.int64]) -> LinearModel | None:
    known = np.isfinite(ages)
    if known.sum() < FILMS or np.unique(groups[known]).size < FOLDS:
        return None
    search = GridSearchCV(
        Ridge(), {"alpha": _PENALTIES}, cv=GroupKFold(FOLDS), scoring="neg_mean_absolute_error", n_jobs=1
    ).fit(scores[known], ages[known], groups=groups[known])
    best = search.best_estimator_
    low, high = float(ages[known].min()), float(ages[known].max())
    return LinearModel(np.asarray(best.coef_, dtype=np.float64), float(best.intercept_), low, high)


def _fit_sex(scores: Floats, codes: Floats, groups: NDArray[np.int64]) -> LinearModel | None:
    known = np.isfinite(codes)
    people = min(np.unique(groups[codes == code]).size for code in (0.0, 1.0))
    if known.sum() < FILMS or people < 2 * FOLDS:
        return None
    search = GridSearchCV(
        LogisticRegression(max_iter=2000),
        {"C": _INVERSE_PENALTIES},
        cv=StratifiedGroupKFold(FOLDS),
        scoring="roc_auc",
        n_jobs=1,
    ).fit(scores[known], codes[known].astype(np.int64), groups=groups[known])
    best = search.best_estimator_
    return LinearModel(np.asarray(best.coef_[0], dtype=np.float64), float(best.intercept_[0]), -np.inf, np.inf)


def demographics(
    predictors: Predictors | None,
    space: MatchSpace,
    images: Tensor,
    films: Tensor,
    ages: Floats,
    sexes: NDArray[np.str_],
    patients: NDArray[np.str_],
    is_member: Bools,
    rng: np.random.Generator,
    *,
    strata: NDArray[np.str_] | None = None,
    permutations: int = 499,
    draws: int = 1000,
) -> DemographicOutcome:
    """Read age and sex from reconstructions; compare with the truth of the nearest training and hold-out patient.

    ``*_reconstruction``: the reading of the reconstruction against the truth of its nearest training patient; control:
    the nearest of equally many hold-out patients (closed form over subsets, as ``likely_samples``). ``*_nearest``: the
    reading of the nearest film itself against its truth: what the predictor costs. ``*_base``: T's median age or
    majority sex against the same truths. ``low`` and ``high`` minus ``control`` bound the excess: the hull of the
    patient-permutation interval (shared neighbours) and the bootstrap over reconstructions.

    images [R, C, H, W]; films [N, C, H, W] pooled; the other arrays [N] per film. One film per patient.
    n: the smaller of reconstructions and distinct patients nearest to them, so that no published figure is about
    fewer than 10 people. An indicator below ``SMALL`` reconstructions.
    """
    truths = known_ages(ages), sex_codes(sexes)
    models = (None, None) if predictors is None else (predictors.age, predictors.sex)
    near = cosines(space, images, films).double().numpy() if len(images) else np.zeros((0, len(films)))
    read = [_read(model, space, images, films, code) for model, code in zip(models, (False, True), strict=True)]
    found: list[tuple[tuple[Measurement, ...], float | None]] = []
    for metrics, none, truth, readings in zip((AGE, SEX), (Reason.NO_AGES, Reason.NO_SEXES), truths, read, strict=True):
        known = np.isfinite(truth)
        missing = _missing(known, is_member, near, readings is None, none)
        if missing is not None or readings is None:
            found.append((without_demographics(missing or Reason.NO_PREDICTOR, metrics), None))
            continue
        people = pool(
            patients[known], is_member[known], None if strata is None else strata[known], near[:, known], rng, most=1
        )
        if min(people.members, people.others) < FEWEST:
            short = Reason.TOO_FEW_REFERENCE if people.members < FEWEST else Reason.TOO_FEW_HOLDOUT
            found.append((without_demographics(short, metrics), None))
            continue
        columns = np.flatnonzero(known)[people.films]
        table = _Table(near[:, columns], truth[columns], readings[0], readings[1][columns], people)
        found.append(_agreement(metrics, table, permutations, draws, rng))
    (age, age_p), (sex, sex_p) = found
    rows = _readings(near, is_member, truths, read) if predictors is not None else ()
    return DemographicOutcome((*age, *sex), rows, age_p, sex_p)


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


def _read(
    model: LinearModel | None, space: MatchSpace, images: Tensor, films: Tensor, code: bool
) -> tuple[Floats, Floats] | None:
    """Readings of reconstructions [R] and films [N]: years, or as ``code`` 1 for M and 0 for F."""
    if model is None:
        return None
    made, seen = (model.predict(space.scores(part).double().numpy()) for part in (images, films))
    return ((made > 0).astype(np.float64), (seen > 0).astype(np.float64)) if code else (made, seen)


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
    metrics: tuple[Metric, ...], table: _Table, permutations: int, draws: int, rng: np.random.Generator
) -> tuple[tuple[Measurement, ...], float]:
    """The three measurements of one question and the one-sided p of the first."""
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
        _beside_control(metric, training[i], holdout[i], weights, n, count < SMALL, 1.0 if sex else OLDEST)
        for i, metric in enumerate(metrics[:2])
    ]
    low, high = np.quantile(weights @ training[2, :, 0], (0.025, 0.975))
    guess = Measured(
        metric=metrics[2], value=float(training[2, :, 0].mean()), low=float(low), high=float(high), n=n,
        indicator=count < SMALL,
    )  # fmt: skip
    excess = (training[0] - holdout[0]).mean(axis=0) * (1 if sex else -1)
    return (*measured, guess), exceedance_p(float(excess[0]), excess[1:])


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
