"""Age and sex read from one image by ridge regression on fixed wavelet features, without a downloaded network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from torch import Tensor

from reid_audit.artefacts.provenance import Declaration, Origin
from reid_audit.artefacts.storage import tensor_digest
from reid_audit.imaging.features import wavelet_moduli
from reid_audit.imaging.stack import Stack, blocks
from reid_audit.records import PredictorCard
from reid_audit.score.calibration import Floats
from reid_audit.score.similarity import SIDE, resized

FILMS = 50
"""Films with a known age (or sex) below which no predictor is fitted."""
FOLDS = 5
OLDEST = 120.0
"""Larger ages are codes for unknown."""
PENALTIES = np.logspace(1, 4, 7)
"""Ridge penalties tried."""
NOISE = 0.08
"""Standard deviation of the noise on the noisy copies of films."""
FIT_VALUES = 1 << 26
"""Most feature values held while fitting (0.5 GiB): larger sets of films get fewer copies."""
BATCH = 256
TINY = 1e-6
Copies = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """Predicts weights * features + intercept, kept within the range seen in fitting."""

    weights: Floats
    """[F]"""
    intercept: float
    low: float
    high: float

    def predict(self, features: Floats) -> Floats:
        """[N, F] standardised features -> [N]."""
        return np.clip(features @ self.weights + self.intercept, self.low, self.high)


@dataclass(frozen=True, slots=True, eq=False)
class Predictors:
    """What can be read from an image; None where the films did not say enough."""

    card: PredictorCard
    centre: Floats
    """[F] mean of the features while fitting."""
    spread: Floats
    """[F] their standard deviation, positive."""
    age: LinearModel | None
    """Years."""
    sex: LinearModel | None
    """Positive for M, negative for F."""
    origin: Origin | None = None
    """The films it was fitted on, where they are known."""

    def read(self, images: Stack) -> tuple[Floats | None, Floats | None]:
        """Age in years and score of M, [N] each, of images [N, C, H, W] in [0, 1] of any side; None without a model."""
        seen = (features(images, self.card.side) - self.centre) / self.spread
        return tuple(None if model is None else model.predict(seen) for model in (self.age, self.sex))  # type: ignore[return-value]


def features(images: Stack, side: int) -> Floats:
    """[N, F] local means of Gabor moduli, at ``side``, of images [N, C, H, W] in [0, 1] (imaging/features.py)."""
    parts = [wavelet_moduli(resized(part, side)).double().numpy() for part in blocks(images, BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, feature_count(side)))


def feature_count(side: int) -> int:
    """How many features an image has at ``side``."""
    return wavelet_moduli(torch.zeros(1, 1, side, side)).shape[1]


def fit_predictors(
    images: Tensor,
    ages: Floats,
    sexes: NDArray[np.str_],
    patients: NDArray[np.str_],
    declared: Declaration,
    generator: torch.Generator,
) -> Predictors | None:
    """Ridge regression of age, and of sex as +1 and -1, on the films and on copies of them.

    films are [N, C, H, W] in [0, 1], ages [N] years (NaN where unknown), sexes [N] "M", "F" or "", patients [N] ids.
    The copies are mirrored, softened and noisy, because reconstructions are softer or noisier than films. Penalties are
    chosen by 5-fold cross-validation grouped by patient, on the films alone; its figures are on the card. Never fit on
    training or hold-out films: that would favour the cohort it saw.

    A model is None where fewer than ``FILMS`` films tell the age or sex, or the ages are of fewer than 5 patients, or
    there are fewer than 10 patients of either sex. Without both models the result is None.
    """
    side = min(SIDE, images.shape[-1])
    kinds = max(1, FIT_VALUES // (max(1, len(images)) * feature_count(side)))
    copies = np.stack([features(part, side) for part in degraded(resized(images, side), generator)[:kinds]])
    centre, spread = copies.mean(axis=(0, 1)), copies.std(axis=(0, 1)).clip(min=TINY)
    copies = ((copies - centre) / spread).astype(np.float32)
    groups = by_appearance(patients)
    age, years = _fit_age(copies, known_ages(ages), groups)
    sex, scores = _fit_sex(copies, sex_codes(sexes), groups)
    if age is None and sex is None:
        return None
    weights = {n: torch.from_numpy(m.weights) for n, m in (("age", age), ("sex", sex)) if m is not None}
    card = PredictorCard(
        id=declared.name,
        sha256=tensor_digest({"centre": torch.from_numpy(centre), "spread": torch.from_numpy(spread), **weights}),
        side=side,
        declared_training_sets=declared.data_sets,
        images=len(images),
        patients=int(groups.max()) + 1,
        licence=declared.licence,
    )
    card = card.model_copy(update=quality(years, scores, ages, sexes))
    return Predictors(card, centre, spread, age, sex, declared.origin)


def degraded(images: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Four versions of images [N, C, S, S]: as they are, mirrored, softened to half the side, mirrored and noisy."""
    mirrored, side = images.flip(-1), images.shape[-1]
    soft = resized(resized(images, max(8, side // 2)), side)
    noisy = (mirrored + NOISE * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    return [images, mirrored, soft, noisy]


def measured_on(predictors: Predictors, name: str, images: Tensor, ages: Floats, sexes: NDArray[np.str_]) -> Predictors:
    """The same predictors with a card that says how well they read ``images`` of other patients."""
    figures = quality(*predictors.read(images), ages, sexes)
    return replace(predictors, card=predictors.card.model_copy(update={"measured_on": name, **figures}))


def quality(
    years: Floats | None, scores: Floats | None, ages: Floats, sexes: NDArray[np.str_]
) -> dict[str, float | None]:
    """The card's figures: readings [N] against the truth, on the films that tell it."""
    truth, codes = known_ages(ages), sex_codes(sexes)
    aged, sexed = np.isfinite(truth), np.isfinite(codes)
    found: dict[str, float | None] = dict.fromkeys(("age_mae", "age_mae_base", "sex_auc", "sex_accuracy"))
    if years is not None and aged.any():
        found["age_mae"] = float(np.abs(years - truth)[aged].mean())
        found["age_mae_base"] = float(np.abs(np.median(truth[aged]) - truth)[aged].mean())
    if scores is not None and np.unique(codes[sexed]).size == 2:
        found["sex_auc"] = float(roc_auc_score(codes[sexed], scores[sexed]))
        found["sex_accuracy"] = float(((scores > 0) == codes)[sexed].mean())
    return found


def known_ages(ages: Floats) -> Floats:
    """[N] years, NaN for everything that cannot be an age."""
    values = np.asarray(ages, dtype=np.float64)
    return np.where((values >= 0) & (values <= OLDEST), values, np.nan)


def sex_codes(sexes: NDArray[np.str_]) -> Floats:
    """[N] 1 for M, 0 for F, NaN for anything else."""
    return np.where(sexes == "M", 1.0, np.where(sexes == "F", 0.0, np.nan))


def by_appearance(patients: NDArray[np.str_]) -> NDArray[np.int64]:
    """Patients numbered as they are met, so that folds do not depend on names."""
    _, first, codes = np.unique(patients, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[codes.reshape(-1)], dtype=np.int64)


def _fit_age(copies: Copies, ages: Floats, groups: NDArray[np.int64]) -> tuple[LinearModel | None, Floats | None]:
    known = np.isfinite(ages)
    if known.sum() < FILMS or np.unique(groups[known]).size < FOLDS:
        return None, None
    low, high = float(ages[known].min()), float(ages[known].max())
    return _ridge(copies, ages, known, groups, GroupKFold(FOLDS), low, high)


def _fit_sex(copies: Copies, codes: Floats, groups: NDArray[np.int64]) -> tuple[LinearModel | None, Floats | None]:
    known = np.isfinite(codes)
    people = min(np.unique(groups[codes == code]).size for code in (0.0, 1.0))
    if known.sum() < FILMS or people < 2 * FOLDS:
        return None, None
    return _ridge(copies, 2 * codes - 1, known, groups, StratifiedGroupKFold(FOLDS), -np.inf, np.inf)


def _ridge(
    copies: Copies,
    target: Floats,
    known: NDArray[np.bool_],
    groups: NDArray[np.int64],
    folds: GroupKFold | StratifiedGroupKFold,
    low: float,
    high: float,
) -> tuple[LinearModel, Floats]:
    """The model under the penalty with the lowest squared error on films [N] of other patients, and what it read there.

    copies [K, N, F], the films themselves first. Every penalty is one output of the same regression.
    """
    rows = np.flatnonzero(known)
    read = np.full((target.size, PENALTIES.size), np.nan)
    for train, test in folds.split(rows, target[rows], groups[rows]):
        read[rows[test]] = _fitted(copies[:, rows[train]], target[rows[train]], PENALTIES).predict(
            copies[0, rows[test]]
        )
    best = int(np.square(read[rows] - target[rows, None]).mean(axis=0).argmin())
    model = _fitted(copies[:, rows], target[rows], PENALTIES[best : best + 1])
    weights = np.asarray(model.coef_, dtype=np.float64).reshape(-1)
    return LinearModel(weights, float(np.ravel(model.intercept_)[0]), low, high), read[:, best].clip(low, high)


def _fitted(copies: Copies, target: Floats, penalties: Floats) -> Ridge:
    """Ridge with one output per penalty. copies [K, N, F]; target [N]."""
    repeated = np.tile(target, len(copies)).astype(np.float32)[:, None]
    stacked = copies.reshape(-1, copies.shape[-1])
    return Ridge(alpha=penalties, solver="cholesky").fit(stacked, np.repeat(repeated, penalties.size, axis=1))
