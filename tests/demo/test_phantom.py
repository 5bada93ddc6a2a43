"""The phantom: seeded, learnable, and made of people who can be told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from phantom_files import write_phantom
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from reid_audit.cohort import Cohort, Frame, Source, load_cohort, overlap
from reid_audit.demo.phantom import phantom_cohort
from reid_audit.preprocess import UNIT


@pytest.fixture(scope="module")
def pair() -> tuple[Cohort, Cohort]:
    return phantom_cohort(300, seed=1, role="reference"), phantom_cohort(300, seed=2, role="holdout")


def test_shape_range_and_films_per_patient(pair: tuple[Cohort, Cohort]) -> None:
    cohort = pair[0]
    assert cohort.images.shape == (cohort.summary.images, 1, 32, 32)
    assert cohort.images.dtype == torch.float32
    assert cohort.images.min() >= 0.0
    assert cohort.images.max() <= 1.0
    assert cohort.images.mean((1, 2, 3)).std() > 0.02
    assert set(np.bincount(cohort.patient_index())) == {1, 2, 3, 4}
    assert phantom_cohort(3, side=64, seed=1, role="holdout", films=(2, 2)).images.shape == (6, 1, 64, 64)


def test_the_seed_decides_everything() -> None:
    first, again, other = (phantom_cohort(20, seed=seed, role="reference") for seed in (7, 7, 8))
    assert torch.equal(first.images, again.images)
    assert first.summary == again.summary
    assert first.summary.digest != other.summary.digest


def test_sex_and_age_are_in_the_films(pair: tuple[Cohort, Cohort]) -> None:
    train, test = pair
    x, y = train.images.flatten(1).numpy(), test.images.flatten(1).numpy()
    sex = LogisticRegression(C=0.05, max_iter=500).fit(x, train.sexes == "F").decision_function(y)
    assert roc_auc_score(test.sexes == "F", sex) > 0.85
    age = Ridge(30.0).fit(x, train.ages).predict(y)
    assert np.corrcoef(age, test.ages)[0, 1] > 0.5


def test_people_can_be_said_apart(pair: tuple[Cohort, Cohort]) -> None:
    cohort = pair[0]
    flat = cohort.images.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    flat = flat / flat.norm(dim=1, keepdim=True)
    likeness = (flat @ flat.T).numpy()
    own = cohort.patients[:, None] == cohort.patients
    np.fill_diagonal(likeness, -1.0)
    same, different = likeness[own & (likeness > -1)], likeness[~own]
    assert np.median(same) > np.quantile(different, 0.95)
    assert different.max() < 0.99
    several = own.sum(1) > 1
    nearest = own[np.arange(len(own)), likeness.argmax(1)]
    assert nearest[several].mean() > 0.5


def test_two_seeds_share_nobody(pair: tuple[Cohort, Cohort]) -> None:
    assert overlap(*pair) == 0


def test_written_films_load_as_the_same_cohort(tmp_path: Path) -> None:
    manifest = write_phantom(tmp_path, 15, seed=3)
    assert manifest == tmp_path / "manifest.csv"
    made = phantom_cohort(15, seed=3, role="holdout")
    read = load_cohort(Source(tmp_path), Frame(UNIT, 32), "holdout")
    said = ("files", "grey_values")  # of films that came from files
    assert read.summary.model_dump(exclude=set(said)) == made.summary.model_dump(exclude=set(said))
    assert read.summary.files == read.summary.images
    assert torch.equal(read.images, made.images)
    assert np.array_equal(read.ages, made.ages)
    assert np.array_equal(read.sexes, made.sexes)
    assert np.array_equal(read.patients, made.patients)
