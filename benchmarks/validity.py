"""Does the scoring do what it says? False alarms, power, false discoveries, and what sample each gate needs.

    python -m benchmarks.validity [--draws 2000] [--data ../shared/data/nih_cxr14]

Every null draw is fresh: new people, a new split, unequal films per patient, new reconstructions drawn from the prior,
scored and judged as in an audit. Without ``--data`` people and prior are synthetic.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats
from torch import Tensor

from benchmarks.lab.draws import Drawn, People
from benchmarks.lab.targets import Bench
from reid_audit.judge import Case, judge
from reid_audit.records import CONTROLS, Measured, Measurement, Metric, Outcome, Policy, find
from reid_audit.score.calibration import holdout_needed, tpr_estimate
from reid_audit.score.likelihood import likely_samples
from reid_audit.score.linkage import LinkageOutcome, linkage
from reid_audit.score.membership.inference import membership
from reid_audit.score.needs import clean_chance, needs, smallest
from reid_audit.score.similarity import MatchSpace, fit_match_space, match_scores

SIDE = 16
RECONSTRUCTIONS = 24


class Source(Protocol):
    """Where people and reconstructions come from."""

    space: MatchSpace

    def people(self, members: int, others: int, rng: np.random.Generator) -> People: ...

    def images(self, n: int, rng: np.random.Generator) -> Tensor: ...


def smooth(n: int, rng: np.random.Generator) -> Tensor:
    """[n, 1, side, side] draws from a Gaussian prior of smooth images in [0, 1]."""
    noise = ndimage.gaussian_filter(rng.standard_normal((n, 1, SIDE, SIDE)), (0, 0, 1.5, 1.5), mode="wrap")
    return torch.from_numpy(np.clip(0.5 + 0.9 * noise, 0, 1).astype(np.float32))


class Synthetic:
    """People whose films share 70 % of their contrast; training patients have more films than hold-out patients."""

    def __init__(self) -> None:
        self.space = fit_match_space(smooth(400, np.random.default_rng(0)), components=64)

    def people(self, members: int, others: int, rng: np.random.Generator) -> People:
        counts = np.r_[rng.integers(1, 5, members), rng.integers(1, 3, others)]
        owner = np.repeat(np.arange(members + others), counts)
        films = 0.7 * smooth(members + others, rng)[torch.from_numpy(owner)] + 0.3 * smooth(owner.size, rng)
        return People(films, owner.astype(np.str_), owner < members)

    def images(self, n: int, rng: np.random.Generator) -> Tensor:
        return smooth(n, rng)


class RealFilms:
    """Patients of the target and hold-out splits, split anew in every draw; an audit's prior of the prior split."""

    def __init__(self, folder: Path, side: int = 32) -> None:
        bench = Bench.at(folder, side)
        self.space, self._prior = bench.match, bench.space
        self._images = torch.cat([bench.target.images, bench.holdout.images])
        self._patients = np.concatenate([bench.target.patients, bench.holdout.patients])

    def people(self, members: int, others: int, rng: np.random.Generator) -> People:
        drawn = rng.permutation(np.unique(self._patients))[: members + others]
        keep = np.flatnonzero(np.isin(self._patients, drawn))
        patients = self._patients[keep]
        return People(self._images[torch.from_numpy(keep)], patients, np.isin(patients, drawn[:members]))

    def images(self, n: int, rng: np.random.Generator) -> Tensor:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return self._prior.decode(self._prior.sample_latents(n, generator)).clamp(0, 1)


def scored(
    source: Source, cohorts: People, images: Tensor, rng: np.random.Generator, permutations: int
) -> LinkageOutcome:
    """One pass through both scorers and every linkage test."""
    return linkage(cohorts.beside(source.space), images, rng, permutations=permutations, draws=100, shift=1)


def naive_p(source: Source, cohorts: People, images: Tensor) -> float:
    """The rule to avoid: every reconstruction an independent coin, heads if its nearest film is a training film."""
    nearest = match_scores(source.space, images, cohorts.images).argmax(dim=1).numpy()
    hits = int(cohorts.is_member[nearest].sum())
    return float(stats.binomtest(hits, nearest.size, float(cohorts.is_member.mean()), alternative="greater").pvalue)


@dataclass(slots=True)
class Tally:
    """What the null draws gave."""

    p: list[float] = field(default_factory=list)
    naive: list[float] = field(default_factory=list)
    counts: int = 0
    hits: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    breaches: dict[str, int] = field(default_factory=dict)


def null_draws(source: Source, draws: int, seed: int, members: int, others: int) -> Tally:
    """Fresh nulls through scoring and verdict."""
    tally = Tally()
    for draw in range(draws):
        rng = np.random.default_rng((seed, draw))
        cohorts, images = source.people(members, others, rng), source.images(RECONSTRUCTIONS, rng)
        outcome = scored(source, cohorts, images, rng, 399)
        tally.p.append(outcome.p)
        tally.naive.append(naive_p(source, cohorts, images))
        tally.counts += _value(outcome.measurements, Metric.REIDENTIFIED_PATIENTS) > 0
        tally.hits += _value(outcome.measurements, Metric.SINGLE_HIT) > 0
        verdict = judge(
            Case((*outcome.measurements, *_rest(source, cohorts, images, rng)), "0" * 64, "disjoint", True, True, True),
            Policy(),
            today=date(2026, 1, 1),
        )
        tally.outcomes.append(verdict.outcome)
        for breach in verdict.breaches:
            tally.breaches[breach.metric.value] = tally.breaches.get(breach.metric.value, 0) + 1
    return tally


def _rest(source: Source, cohorts: People, images: Tensor, rng: np.random.Generator) -> tuple[Measurement, ...]:
    """Likely samples of an optimiser that lowers its energy, membership scores that know nothing, controls met.

    A control is met by whatever number its own row of the table asks for, at the default policy's limit.
    """
    n = cohorts.patients.size
    made, control = (Drawn(images, torch.full((len(images),), energy)) for energy in (-1.0, 0.0))
    likely = likely_samples(cohorts.beside(source.space), made, control, rng, permutations=99)
    blind = {"moments": rng.exponential(size=n), "loss": rng.standard_normal(n)}
    recognised = membership(blind, cohorts.owners, rng, draws=100)
    met = (
        Measured(metric=control.metric, value=0.0 if control.comparison == "at_most" else 1.0)
        for control in CONTROLS.values()
        if control.metric is not None
    )
    return (*likely.measurements, *recognised.measurements, *met)


def _value(measurements: tuple[Measurement, ...], metric: Metric) -> float:
    found = find(measurements, metric)
    return found.value if isinstance(found, Measured) else 0.0


def power(source: Source, planted: int, members: int, others: int, draws: int, seed: int) -> tuple[float, float, float]:
    """(share of audits with p <= 0.01, mean patients reported, mean share of them that did not leak).

    ``planted`` reconstructions are half a training film, half a draw from the prior.
    """
    flagged, reported, wrong = [], [], []
    for draw in range(draws):
        rng = np.random.default_rng((seed, planted, members, draw))
        cohorts, images = source.people(members, others, rng), source.images(RECONSTRUCTIONS, rng)
        leaked = rng.permutation(np.unique(cohorts.patients[cohorts.is_member]))[:planted]
        films = [int(rng.choice(np.flatnonzero(cohorts.patients == patient))) for patient in leaked]
        images[: len(films)] = 0.5 * cohorts.images[films] + 0.5 * images[: len(films)]
        outcome = scored(source, cohorts, images, rng, 999)
        count = _value(outcome.measurements, Metric.REIDENTIFIED_PATIENTS)
        flagged.append(outcome.p <= 0.01)
        reported.append(count)
        wrong.append(_false_share(outcome, leaked, int(count)))
    return float(np.mean(flagged)), float(np.mean(reported)), float(np.mean(wrong))


def _false_share(outcome: LinkageOutcome, leaked: NDArray[np.str_], count: int) -> float:
    if count == 0 or outcome.ids is None or outcome.scores is None or outcome.is_member is None:
        return 0.0
    order = np.argsort(-np.where(outcome.is_member, outcome.scores, -np.inf))[:count]
    return float(np.mean(~np.isin(outcome.ids[order], leaked)))


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--power-draws", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--members", type=int, default=60)
    parser.add_argument("--others", type=int, default=100)
    parser.add_argument("--data", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    source: Source = Synthetic() if options.data is None else RealFilms(options.data)
    print(f"source: {type(source).__name__}, {options.members} training and {options.others} hold-out patients")
    _print_nulls(null_draws(source, options.draws, options.seed, options.members, options.others))
    print("\n| n_T | n_H | planted | p <= 0.01 | reported | of them wrong |\n|---|---|---|---|---|---|")
    for members, others in ((100, 100), (100, 300), (20, 300)):
        for planted in (4, 8, 16):
            found = power(source, planted, members, others, options.power_draws, options.seed)
            print(f"| {members} | {others} | {planted} | {found[0]:.2f} | {found[1]:.1f} | {found[2]:.2f} |")
    _print_rates(options.seed)
    _print_needs()
    print(f"\n{time.perf_counter() - started:.0f} s")


def _print_nulls(tally: Tally) -> None:
    p, naive = np.array(tally.p), np.array(tally.naive)
    for name, values in (("linkage_p", p), ("naive binomial", naive)):
        share = stats.binomtest(int(np.count_nonzero(values <= 0.01)), values.size, 0.01)
        ends = share.proportion_ci(method="exact")
        print(
            f"{name}: {np.mean(values <= 0.01):.4f} of {values.size} nulls at p <= 0.01"
            f" [{ends.low:.4f}, {ends.high:.4f}], binomial p {share.pvalue:.3g},"
            f" KS p {stats.kstest(values, 'uniform').pvalue:.3g}"
        )
    print(
        f"reidentified_patients > 0: {tally.counts / p.size:.4f} (q = 0.10); single_hit > 0: {tally.hits / p.size:.4f}"
    )
    shares = {outcome.value: f"{np.mean([o is outcome for o in tally.outcomes]):.4f}" for outcome in Outcome}
    print("verdicts:", {name: share for name, share in shares.items() if float(share) > 0}, "breaches:", tally.breaches)


def _print_rates(seed: int) -> None:
    print("\n| n_T | n_H | leak-free: low > 0.05 | high <= 0.10 (calculator) | true TPR 0.20: low > 0.05 | covered |")
    print("|---|---|---|---|---|---|")
    for members, others in ((54, 100), (100, 100), (150, 150), (200, 200), (388, 395)):
        rng = np.random.default_rng((seed, members))
        blind = [
            tpr_estimate(rng.standard_normal(members), rng.standard_normal(others), rng, draws=500) for _ in range(200)
        ]
        shift = stats.norm.isf(0.01) - stats.norm.isf(0.20)
        leaky = [
            tpr_estimate(rng.standard_normal(members) + shift, rng.standard_normal(others), rng, draws=500)
            for _ in range(200)
        ]
        print(
            f"| {members} | {others} | {np.mean([e.low > 0.05 for e in blind]):.3f}"
            f" | {np.mean([e.high <= 0.10 for e in blind]):.3f} ({clean_chance(members, others, 0.10):.3f})"
            f" | {np.mean([e.low > 0.05 for e in leaky]):.3f}"
            f" | {np.mean([e.low <= 0.20 <= e.high for e in leaky]):.3f} |"
        )


def _print_needs() -> None:
    print("\ndefault policy: | gate or control | training | hold-out with the canaries | |\n|---|---|---|---|")
    for need in needs(Policy()):
        print(f"| {need.metric.value} | {need.members} | {need.others} | {need.note} |")
    print("together:", *smallest(Policy()))
    print("| training patients | hold-out patients for reidentified_patients to report 1 | 4 | 8 |\n|---|---|---|---|")
    for members in (8, 16, 64, 388):
        print(f"| {members} | " + " | ".join(str(holdout_needed(members, 0.10, k)) for k in (1, 4, 8)) + " |")


if __name__ == "__main__":
    main()
