"""How well are age and sex read, and how often does agreement alone raise an alarm? On real chest films.

    python -m benchmarks.demographics --data ../shared/data/nih_cxr14 [--draws 200] [--doc docs/demographics.md]

Predictors: the shipped ones, fitted on the split ``prior``, measured on the split ``holdout``, which they never saw,
and on softened and noisy copies of its films. ``--draws 0`` stops there and keeps the second table of ``--doc``.
False alarms: patients of ``target`` and ``holdout`` are pooled and split anew in every draw; the reconstructions are
samples of a Gaussian prior, which know nothing of either cohort. Power: the reconstructions are films of training
patients blended with samples of the prior.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor

from benchmarks.lab.pages import put
from benchmarks.lab.predictors import known
from reid_audit.artefacts.provenance import Declaration
from reid_audit.cohort import Cohort, Frame, Source, load_cohort
from reid_audit.judge import exceeds_fail
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.records import Measured, Metric, Policy, PreprocessSpec, find
from reid_audit.score.comparison import Comparison
from reid_audit.score.demographics import demographics
from reid_audit.score.patients import Owners
from reid_audit.score.predictor_file import shipped_predictors
from reid_audit.score.predictors import Predictors, quality
from reid_audit.score.similarity import MatchSpace, fit_match_space, resized

GATE = next(gate for gate in Policy().gates if gate.metric is Metric.SEX_ACCURACY_RECONSTRUCTION)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Readings of one film each."""

    age: NDArray[np.float64]
    sex: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What every draw shares."""

    space: MatchSpace
    predictors: Predictors
    prior: GaussianPrior
    images: Tensor
    ages: NDArray[np.float64]
    sexes: NDArray[np.str_]
    patients: NDArray[np.str_]

    def samples(self, n: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            return self.prior.decode(self.prior.sample_latents(n, generator)).clamp(0, 1)

    def draw(self, members: int, others: int, images: int, share: float, seed: int) -> tuple[Measured, float, float]:
        """Sex agreement with the p-values for sex and age; ``share`` of each reconstruction is a training film."""
        rng = np.random.default_rng(seed)
        people = rng.permutation(np.unique(self.patients))[: members + others]
        chosen = np.flatnonzero(np.isin(self.patients, people))
        is_member = np.isin(self.patients[chosen], people[:members])
        made = self.samples(images, seed)
        if share:
            leaked = rng.choice(chosen[is_member], images)
            made = (1 - share) * made + share * self.images[torch.from_numpy(leaked)]
        compared = Comparison(
            self.images[torch.from_numpy(chosen)], Owners(self.patients[chosen], is_member), self.space,
            self.ages[chosen], self.sexes[chosen], np.full(chosen.size, ""),
        )  # fmt: skip
        found = demographics(compared, made, self.predictors, rng, permutations=199, draws=200)
        sex = find(found.measurements, Metric.SEX_ACCURACY_RECONSTRUCTION)
        age = find(found.measurements, Metric.AGE_MAE_RECONSTRUCTION)
        if not isinstance(sex, Measured) or not isinstance(age, Measured) or sex.p is None or age.p is None:
            raise SystemExit(f"not measured: {sex}, {age}")
        return sex, sex.p, age.p


def read_by(predictors: Predictors, images: Tensor) -> Read:
    """Both readings of every film."""
    age, sex = predictors.read(images)
    if age is None or sex is None:
        raise SystemExit("the predictor reads only one of age and sex")
    return Read(age, sex)


def predictor_table(predictors: Predictors, prior: Cohort, holdout: Cohort) -> list[str]:
    """Figures on the hold-out, with a patient-bootstrap interval."""
    read, men = read_by(predictors, holdout.images), holdout.sexes == "M"
    owner, rng = holdout.patient_index(), np.random.default_rng(0)
    rows_of = [np.flatnonzero(owner == person) for person in range(int(owner.max()) + 1)]
    error = np.abs(read.age - holdout.ages)
    guess = np.abs(np.median(prior.ages) - holdout.ages)
    right = (read.sex > 0) == men
    draws = []
    for _ in range(1000):
        rows = np.concatenate([rows_of[person] for person in rng.integers(len(rows_of), size=len(rows_of))])
        auc = roc_auc_score(men[rows], read.sex[rows])
        draws.append((error[rows].mean(), guess[rows].mean(), auc, right[rows].mean()))
    low, high = np.quantile(np.array(draws), (0.025, 0.975), axis=0)
    majority = np.mean(men == (np.mean(prior.sexes == "M") >= 0.5))
    names = ("age, mean absolute error (years)", "age, guessing the prior's median", "sex, AUC", "sex, accuracy")
    values = (error.mean(), guess.mean(), roc_auc_score(men, read.sex), right.mean())
    lines = [f"| {n} | {v:.3g} | {a:.3g} to {b:.3g} |" for n, v, a, b in zip(names, values, low, high, strict=True)]
    correlation = np.corrcoef(read.age, holdout.ages)[0, 1]
    lines += [
        f"| sex, guessing the prior's majority | {majority:.3g} | |",
        f"| age, correlation with the truth | {correlation:.3g} | |",
    ]
    return [
        "| figure | hold-out | 95 % (patients) |",
        "|---|---|---|",
        *lines,
        "",
        *degraded_table(predictors, holdout),
    ]


def degraded_table(predictors: Predictors, holdout: Cohort) -> list[str]:
    """The same figures on films as soft or noisy as reconstructions are."""
    films, side = holdout.images, holdout.images.shape[-1]
    noise = torch.randn(films.shape, generator=torch.Generator().manual_seed(0))
    kinds = {
        "as they are": films,
        f"at {side // 2} px": resized(films, side // 2),
        f"at {side // 4} px": resized(films, side // 4),
        "noise of 0.05": (films + 0.05 * noise).clamp(0, 1),
        "noise of 0.1": (films + 0.1 * noise).clamp(0, 1),
    }
    lines = ["| hold-out films | age, mean absolute error | sex, AUC | sex, accuracy |", "|---|---|---|---|"]
    for name, images in kinds.items():
        found = quality(*predictors.read(images), holdout.ages, holdout.sexes)
        lines.append(f"| {name} | {found['age_mae']:.1f} | {found['sex_auc']:.3f} | {found['sex_accuracy']:.2f} |")
    return lines


def draw_table(bench: Bench, cells: list[tuple[int, int, int, float]], draws: int) -> list[str]:
    """One line per setting: breaches of the default gate, p-values, agreement and its control."""
    heads = ("T / H patients", "reconstructions", "share of a training film", "draws", "gate breached",
             "p <= 0.05, sex / age", "agreement / control")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for members, others, images, share in cells:
        found = [bench.draw(members, others, images, share, 1000 * images + i) for i in range(draws)]
        breaches = sum(exceeds_fail(sex, GATE) for sex, _, _ in found)
        interval = stats.binomtest(breaches, draws).proportion_ci(method="exact")
        small = [
            float(np.mean([p <= 0.05 for p in column])) for column in zip(*((a, b) for _, a, b in found), strict=True)
        ]
        agreement = np.mean([sex.value for sex, _, _ in found])
        control = np.mean([sex.control or 0.0 for sex, _, _ in found])
        lines.append(
            f"| {members} / {others} | {images} | {share:g} | {draws} | {breaches} ({100 * interval.low:.1f} to "
            f"{100 * interval.high:.1f} %) | {small[0]:.3f} / {small[1]:.3f} | {agreement:.2f} / {control:.2f} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--power-draws", type=int, default=20)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    prior, holdout, target = (
        load_cohort(Source(options.data, {"split": split}), Frame(PreprocessSpec(), options.side), "reference")
        for split in ("prior", "holdout", "target")
    )
    predictors = shipped_predictors()
    put("\n".join(predictor_table(predictors, prior, holdout)), options.doc, "figures")
    if not options.draws:
        return
    gaussian = fit_gaussian(
        prior.images, Declaration("prior", ("split prior",)), torch.Generator().manual_seed(0),
        patients=prior.summary.patients,
    )  # fmt: skip
    films, ages = torch.cat([target.images, holdout.images]), np.r_[target.ages, holdout.ages]
    bench = Bench(
        fit_match_space(prior.images), known(predictors), gaussian, films, ages,
        np.r_[target.sexes, holdout.sexes], np.r_[target.patients, holdout.patients],
    )  # fmt: skip
    null = draw_table(bench, [(388, 387, 32, 0.0), (100, 100, 16, 0.0), (16, 387, 32, 0.0)], options.draws)
    power = draw_table(bench, [(388, 387, 32, 1.0), (388, 387, 32, 0.5), (16, 387, 32, 0.5)], options.power_draws)
    put("\n".join([*null, *power[2:]]), options.doc, "draws")


if __name__ == "__main__":
    main()
