"""Variants of the `moments` recipe on patients of the `prior` split that are withheld from the prior.

    python -m benchmarks.tuning run --data ../shared/data/nih_cxr14 [--seeds 0 1] [--only "shadow floors" ...]
                                    [--architecture vit_tiny_patch16_224 --sides 64]
    python -m benchmarks.tuning table --doc docs/tuning.md

What is chosen here is reported on other people: `target` and `holdout` films are never opened. Each row is one attack
on a network that was overfit on 16 of 100 patients, among 200 others; the remaining patients of the split make the
prior. Energies are those of the recipe's own likelihood (its metric, equal shares), so that variants compare.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.lab.attacks import task_of
from benchmarks.lab.command import carry_out, run_and_table
from benchmarks.lab.data import SPEC, few, sex_labels
from benchmarks.lab.pages import publish
from benchmarks.lab.rows import budget_of, measured, rows_of
from benchmarks.lab.targets import ARCHITECTURES, Bench, Target, kept
from benchmarks.lab.training import overfit
from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.likelihood import likelihood, measured_metrics, recipe
from reid_audit.attack.objectives import Objective, StatisticsObjective, residuals
from reid_audit.attack.refinement import MEASURED, Descent, RefineSettings, finish, refine
from reid_audit.audit.cohorts import both_cohorts
from reid_audit.audit.evidence import linked
from reid_audit.budget import Meter, unhurried
from reid_audit.cohort import Cohort, Frame, Source, Subjects, assemble, load_cohort
from reid_audit.network.reading import Inputs, read_moments
from reid_audit.preprocess import to_network
from reid_audit.prior.gaussian import GaussianPrior
from reid_audit.records import Budget, Metric, Policy

MEMBERS, OTHERS = 100, 200
"""Patients withheld from the prior: those that targets may learn, and their non-members."""
COARSE_SHARE = 0.4
"""Share of the steps spent on low frequencies in the coarse-to-fine variant."""


def withheld(data: Path, side: int) -> Bench:
    """The `prior` split in three, by patient; the same three for every side and seed."""
    films = load_cohort(Source(data, {"split": "prior"}), Frame(SPEC, side), "reference")
    order = np.random.default_rng(0).permutation(np.unique(films.patients))

    def part(people: np.ndarray) -> Cohort:
        rows = np.flatnonzero(np.isin(films.patients, people))
        few = Subjects(films.patients[rows], films.ages[rows], films.sexes[rows])
        return assemble(films.images[torch.from_numpy(rows)], few, role="reference")

    return Bench.of(*(part(people) for people in np.split(order, [MEMBERS, MEMBERS + OTHERS])))


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One network to try the variants on."""

    target: Target
    bench: Bench
    task: AttackTask
    folder: Path

    def shadow_floors(self) -> tuple[float, ...]:
        """[L] noise of a network of the same kind overfit on films of the prior, with geometric mean 1.

        The scale is left to the temperature, so that the variant differs in the shape of the floors alone.
        """
        films = few(self.bench.prior, self.target.members, self.target.seed)
        make = partial(ARCHITECTURES[self.target.architecture], self.target.side)
        path = kept(
            self.folder / f"shadow-{self.target.name}.safetensors",
            lambda: overfit(make, films.images, sex_labels(films), seed=100 + self.target.seed),
        )
        module: nn.Module = make()
        module.load_state_dict(load_file(path))
        inputs = Inputs(films.images, lambda part: to_network(part, SPEC, 3))
        layers = read_moments(module.eval(), inputs, unhurried(), stage="shadow", trained_with=len(films.images))
        equal = torch.full((1, len(films.images)), 1.0 / len(films.images))
        noise = torch.stack([residuals(layer, equal).square().mean() for layer in layers]).clamp_min(1e-14).log()
        return tuple((noise - noise.mean()).exp().tolist())

    def objective(self, settings: RefineSettings, *, shadow: bool = False) -> Objective:
        """The likelihood under ``settings``; ``shadow``: its metrics over the floors of a shadow network."""
        found = likelihood(self.task, settings)
        if not shadow or not isinstance(found, StatisticsObjective):
            return found
        measured = self.task.metrics or measured_metrics(self.task)
        over = (metric.times(1.0 / floor) for metric, floor in zip(measured, self.shadow_floors(), strict=True))
        return replace(found, metrics=tuple(over))

    def coarse_start(self, generator: torch.Generator) -> Tensor:
        """Latents after the low frequencies alone have been optimised; the others as at a random start."""
        settings, space = recipe(self.task), self.task.space
        noise = settings.start_scale * space.sample_latents(sum(self.task.budget.particles), generator)
        low = LowFrequencies(space, lowest(space))
        steps = max(2, round(COARSE_SHARE * self.task.budget.steps))
        descent = Descent("coarse", steps, settings, Meter(None, None))
        found = refine(self.task, low, noise, likelihood(self.task, settings), descent)
        return torch.where(low.free, found.latents, noise)


def lowest(space: GaussianPrior) -> Tensor:
    """[D] bool: latents of the lower half of the frequencies of each axis, or of as large a share of components."""
    side, rank = space.mean.shape[-1], space.factor.shape[0]
    if space.dct_std is None:
        return torch.arange(rank) < rank // 4
    frequencies = torch.zeros_like(space.dct_std, dtype=torch.bool)
    frequencies[:, : side // 2, : side // 2] = True
    return torch.cat([torch.ones(rank, dtype=torch.bool), frequencies.flatten()])


@dataclass(frozen=True, slots=True, eq=False)
class LowFrequencies:
    """A prior whose other latents are held at zero."""

    inner: GaussianPrior
    free: Tensor

    def decode(self, latents: Tensor) -> Tensor:
        return self.inner.decode(latents * self.free)


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs from the recipe."""

    settings: RefineSettings | None = None
    """None: the recipe."""
    particles: Callable[[tuple[int, ...]], tuple[int, ...]] = lambda particles: particles
    coarse: bool = False
    """Whether the low frequencies are optimised first."""
    shadow: bool = False
    """Whether the layers' noise is that of a shadow network."""

    def run(self, case: Case, generator: torch.Generator) -> Reconstruction:
        settings, space, meter = self.settings or recipe(case.task), case.task.space, Meter(None, None)
        steps = case.task.budget.steps
        if self.coarse:
            start, steps = case.coarse_start(generator), max(2, round((1.0 - COARSE_SHARE) * steps))
        else:
            start = settings.start_scale * space.sample_latents(sum(case.task.budget.particles), generator)
        objective = case.objective(settings, shadow=self.shadow)
        found = refine(case.task, space, start, objective, Descent("tuning", steps, settings, meter), generator)
        with torch.no_grad():
            images = space.decode(found.latents)
        return finish(case.task, images, objective, found.trajectory, meter, found.stopped_by)


VARIANTS: dict[str, Variant] = {
    "recipe": Variant(),
    "shadow floors": Variant(shadow=True),
    "warmer end": Variant(settings=replace(MEASURED, coldest=100 * MEASURED.coldest)),
    "plain distance": Variant(settings=RefineSettings()),
    "coarse to fine": Variant(coarse=True),
    "two restarts in one batch": Variant(particles=lambda particles: 2 * particles),
    "twice the particles": Variant(particles=lambda particles: tuple(2 * count for count in particles)),
}
HEAD_VARIANTS: dict[str, Variant] = {
    name: VARIANTS[name] for name in ("recipe", "two restarts in one batch", "twice the particles")
}
"""For networks without BatchNorm."""


def variants_of(architecture: str) -> dict[str, Variant]:
    return VARIANTS if architecture in ("resnet18", "densenet121") else HEAD_VARIANTS


def row(case: Case, name: str, steps: int) -> dict[str, Any]:
    """One attack, scored against the withheld patients."""
    torch.manual_seed(case.target.seed)
    variant = variants_of(case.target.architecture)[name]
    if name == "shadow floors":
        case.shadow_floors()  # trained before the clock starts
    began = time.process_time()
    made = variant.run(case, torch.Generator().manual_seed(1000 + case.target.seed))
    seconds = time.process_time() - began
    with torch.no_grad():
        energy = likelihood(case.task, recipe(case.task)).energy(case.task.inputs(made.images))
    compared = both_cohorts(case.bench.members(case.target), case.bench.holdout, case.bench.match)
    found = linked(compared, made.images, seed=case.target.seed, level=Policy().level).measurements
    auc = measured(found, Metric.LINKAGE_AUC)
    return {
        "target": case.target.name,
        "variant": name,
        "budget": budget_of(steps, list(case.task.budget.particles)),
        "energy": float(energy.mean()),
        "auc": [auc.value, auc.low, auc.high],
        "p": measured(found, Metric.LINKAGE_P).value,
        "cpu_seconds": seconds,
    }


def case_of(target: Target, bench: Bench, budget: Budget, folder: Path) -> Case:
    """The network as the attack identifies it, trained where it is missing."""
    return Case(target, bench, task_of(target, bench, folder, budget), folder)


def run(options: argparse.Namespace) -> None:
    done = {(row["target"], row["variant"], row["asked"]) for row in rows_of(options.out)}
    asked = budget_of(options.steps, options.particles)
    for side in options.sides:
        bench = withheld(options.data, side)
        for seed in options.seeds:
            target = Target(options.architecture, side, options.members, seed)
            for name, variant in variants_of(options.architecture).items():
                if (target.name, name, asked) in done or (options.only and name not in options.only):
                    continue
                particles = variant.particles(tuple(options.particles))
                budget = Budget(steps=options.steps, particles=particles)
                found = row(case_of(target, bench, budget, options.out.parent / "tuning"), name, options.steps)
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found | {"asked": asked}) + "\n")
                print(json.dumps(found), flush=True)


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("target", lambda r: r["target"]),
    ("variant", lambda r: r["variant"]),
    ("steps x particles", lambda r: r["budget"]),
    ("energy", lambda r: f"{r['energy']:.1e}"),
    ("linkage_auc", lambda r: f"{r['auc'][0]:.2f} [{r['auc'][1]:.2f}, {r['auc'][2]:.2f}]"),
    ("linkage_p", lambda r: f"{r['p']:.2g}"),
    ("CPU s", lambda r: f"{r['cpu_seconds']:.0f}"),
)


def write(options: argparse.Namespace) -> None:
    rows = [tuple(text(row) for _, text in COLUMNS) for row in rows_of(options.out)]
    publish([name for name, _ in COLUMNS], rows, options.doc, keys=3, mark="tuning")


def main() -> None:
    parser, running = run_and_table(__doc__, "tuning.jsonl", run, write)
    running.add_argument("--sides", type=int, nargs="+", default=[32, 64])
    running.add_argument("--seeds", type=int, nargs="+", default=[0])
    running.add_argument("--members", type=int, default=16)
    running.add_argument("--steps", type=int, default=300)
    running.add_argument("--particles", type=int, nargs="+", default=[16, 32])
    running.add_argument("--only", nargs="+", choices=sorted(VARIANTS | HEAD_VARIANTS))
    running.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="resnet18")
    carry_out(parser)


if __name__ == "__main__":
    main()
