"""Controls: the scorer's sensitivity, exchangeability of the cohorts, agreement of restarts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from phantom_cohorts import people, smooth_images
from PIL import Image
from scipy import stats

from reid_audit.records import Measured, Reason, Unmeasured
from reid_audit.score.comparison import Comparison
from reid_audit.score.consensus import consensus
from reid_audit.score.exchangeability import exchangeability
from reid_audit.score.patients import Owners
from reid_audit.score.sensitivity import degraded, scorer_sensitivity
from reid_audit.score.similarity import MatchSpace, fit_match_space, ssim


def test_a_matching_space_finds_poor_copies_and_a_blind_one_does_not() -> None:
    rng = np.random.default_rng(0)
    cohort = people(40, 80, rng, side=24)
    prior = smooth_images(200, rng, 24)
    found = scorer_sensitivity(cohort.beside(fit_match_space(prior)), prior, rng)
    blind = MatchSpace(side=24, mean=torch.zeros(24 * 24), axes=torch.ones(1, 24 * 24))
    missed = scorer_sensitivity(cohort.beside(blind), prior, rng)
    assert isinstance(found, Measured)
    assert isinstance(missed, Measured)
    assert found.low is not None
    assert missed.low is not None
    assert found.low >= 0.5 > missed.low
    assert found.control == pytest.approx(1 / 120)


def test_copies_lie_in_the_stated_range() -> None:
    rng = np.random.default_rng(1)
    films, prior = smooth_images(30, rng, 32), smooth_images(50, rng, 32)
    copies, rows = degraded(films, prior, rng)
    alike = ssim(copies, films[torch.from_numpy(rows)])
    assert rows.size >= 20
    assert float(alike.min()) >= 0.3
    assert float(alike.max()) <= 0.5


def test_few_training_patients_are_joined_by_holdout_patients() -> None:
    rng = np.random.default_rng(2)
    cohort = people(4, 60, rng, side=24)
    prior = smooth_images(100, rng, 24)
    share = scorer_sensitivity(cohort.beside(fit_match_space(prior)), prior, rng)
    assert isinstance(share, Measured)
    assert share.n is not None
    assert share.n > 30


def test_exchangeable_cohorts_are_rejected_at_the_level() -> None:
    p = []
    space = fit_match_space(smooth_images(100, np.random.default_rng(3)), components=40)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        cohort = people(25, 40, rng, films=(4, 2))
        test = exchangeability(cohort.beside(space), rng, permutations=99)
        assert isinstance(test, Measured)
        p.append(test.value)
    assert np.count_nonzero(np.array(p) <= 0.05) <= stats.binom.ppf(0.999, 150, 0.05)
    assert stats.kstest(p, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("change", ["darker", "sharper"])
def test_another_device_is_noticed(change: str) -> None:
    rng = np.random.default_rng(4)
    cohort = people(60, 60, rng)
    films = cohort.images.clone()
    own = torch.from_numpy(cohort.is_member)
    films[own] = 0.85 * films[own] if change == "darker" else films[own] + 0.05 * torch.randn(films[own].shape)
    space = fit_match_space(smooth_images(100, rng), components=40)
    test = exchangeability(Comparison.unlabelled(films.clamp(0, 1), cohort.owners, space), rng, permutations=499)
    assert isinstance(test, Measured)
    assert test.value <= 0.01


@pytest.mark.parametrize("strata", [None, ["a", "a"], ["a", "b"]], ids=["none", "one", "cohorts"])
def test_strata_do_not_hide_another_device(strata: list[str] | None) -> None:
    """Rates at 1 % false positives compare patients of all strata, so the test does too."""
    rng = np.random.default_rng(4)
    cohort = people(60, 60, rng)
    films = cohort.images.clone()
    films[torch.from_numpy(cohort.is_member)] *= 0.85
    groups = None if strata is None else np.where(cohort.is_member, *strata)
    owners = Owners(cohort.patients, cohort.is_member, groups)
    space = fit_match_space(smooth_images(100, rng), components=40)
    test = exchangeability(Comparison.unlabelled(films, owners, space), rng, permutations=499)
    assert isinstance(test, Measured)
    assert test.value <= 0.01


@pytest.mark.parametrize(
    ("training", "others"),
    [
        (("ill", "well"), ("Ill", "Well")),
        (("1", "0"), ("1.0", "0.0")),
        (("ill", "well"), ("well", "well")),
        (("+-\x1fill", "-+\x1fwell"), ("??\x1fnone of them", "??\x1fnone of them")),
    ],
    ids=["another spelling", "another number format", "nobody ill", "uncertain in one cohort"],
)
def test_labels_of_another_kind_are_noticed(training: tuple[str, str], others: tuple[str, str]) -> None:
    """The loss compares films under their labels: where those differ in kind, so does the loss."""
    rng = np.random.default_rng(4)
    cohort = people(60, 60, rng)
    coins = rng.integers(0, 2, len(cohort.images))
    labels = np.where(cohort.is_member, np.array(training)[coins], np.array(others)[coins])
    space = fit_match_space(smooth_images(100, rng), components=40)
    known = replace(Comparison.unlabelled(cohort.images, cohort.owners, space), labels=labels)
    test = exchangeability(known, rng, permutations=499)
    assert isinstance(test, Measured)
    assert test.value <= 0.01


@pytest.mark.parametrize("kind", ["classes", "findings", "columns", "numbers"])
def test_labels_of_one_kind_are_rejected_at_the_level(kind: str) -> None:
    p = []
    space = fit_match_space(smooth_images(100, np.random.default_rng(3)), components=40)
    words = {
        "classes": np.array(["ill", "well", "well"]),
        "findings": np.array(["Mass", "Mass|Effusion", "No Finding", "Effusion"]),
        "columns": np.array(["+-\x1fMass", "-?\x1fnone of them", "++\x1fMass and Edema"]),
        "numbers": np.arange(20, 90).astype(np.str_),
    }[kind]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        cohort = people(25, 40, rng, films=(4, 2))
        known = replace(cohort.beside(space), labels=rng.choice(words, len(cohort.images)))
        test = exchangeability(known, rng, permutations=99)
        assert isinstance(test, Measured)
        p.append(test.value)
    assert np.count_nonzero(np.array(p) <= 0.05) <= stats.binom.ppf(0.999, 60, 0.05)
    assert stats.kstest(p, "uniform").pvalue > 1e-4


def _folder(folder: Path, prefix: str, most: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    lines = [line.split(",") for line in (folder / "manifest.csv").read_text().splitlines()]
    head, rows = lines[0], [line for line in lines[1:] if prefix in line[-1] or not prefix][:most]
    films = []
    for row in rows:
        with Image.open(folder / row[head.index("path")]) as image:
            films.append(np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32) / 255)
    ids = np.array([row[head.index("patient_id")] for row in rows])
    return torch.from_numpy(np.stack(films))[:, None], ids, np.array(rows, dtype=object)


def test_another_hospital_is_noticed_and_the_same_is_not(real_films: Path) -> None:
    prior, _, _ = _folder(real_films, "prior", 200)
    target, target_ids, _ = _folder(real_films, "target", 150)
    holdout, holdout_ids, _ = _folder(real_films, "holdout", 150)
    other, other_ids, _ = _folder(real_films.parent / "hannover_covid", "", 243)
    space = fit_match_space(prior)

    def p(films: torch.Tensor, ids: np.ndarray) -> float:
        people = np.r_[np.char.add("t", target_ids), np.char.add("h", ids)]
        owners = Owners(people, np.arange(len(people)) < len(target))
        compared = Comparison.unlabelled(torch.cat([target, films]), owners, space)
        test = exchangeability(compared, np.random.default_rng(0), permutations=999)
        assert isinstance(test, Measured)
        return test.value

    assert p(other, other_ids) <= 0.001
    assert p(holdout, holdout_ids) > 0.01


def test_restarts_that_agree_stand_out_from_those_that_do_not() -> None:
    rng = np.random.default_rng(5)
    space = fit_match_space(smooth_images(100, rng), components=40)
    shared = smooth_images(10, rng)
    runs = [0.7 * shared + 0.3 * smooth_images(10, rng) for _ in range(3)]
    loose = [smooth_images(14, rng) for _ in range(3)]
    agreed, chance = consensus(space, runs, loose, rng), consensus(space, loose, loose[::-1], rng)
    assert isinstance(agreed, Measured)
    assert isinstance(chance, Measured)
    assert agreed.indicator
    assert agreed.low is not None
    assert agreed.control is not None
    assert agreed.low > agreed.control + 0.1
    assert chance.value == pytest.approx(chance.control or 0.0, abs=1e-6)
    alone = consensus(space, runs[:1], loose, rng)
    assert isinstance(alone, Unmeasured)
    assert alone.reason is Reason.CONTROL_NOT_RUN
