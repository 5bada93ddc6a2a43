"""The study that this tool follows (S. Lee 2025), run again on real films with a control and a test beside each figure.

    python -m benchmarks.study run --data ../shared/data/nih_cxr14 --quick
    python -m benchmarks.study table --doc docs/study.md

Its four targets: a CNN (ResNet-18) and a ViT (ViT-tiny), each trained with care on all films of the split `target`, and
each by heart on few patients of it. Their twins had the same training on patients of the split `holdout`: what the
attack makes of a twin can owe nothing to the target's patients. The generator and the full-rank prior are the shipped
ones, made of the split `prior`. ``--quick`` is the column of a CPU; without it the attack has the default budget.
Finished cells are kept in ``--out``; pictures of reconstructions beside films of patients are written into
``restricted/`` beside it, readable by their owner alone, and nowhere else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.lab.agreement import agreement
from benchmarks.lab.attacks import task_of
from benchmarks.lab.command import carry_out, run_and_table
from benchmarks.lab.data import accuracy, splits
from benchmarks.lab.pages import publish
from benchmarks.lab.predictors import blind
from benchmarks.lab.rows import budget_of, rows_of
from benchmarks.lab.slides import KINDS, REREAD_HEAD, reread_rows
from benchmarks.lab.study_tables import AGREEMENT, SIZES, STUDY, TABLES
from benchmarks.lab.targets import Bench, Target, weights_of
from benchmarks.lab.towards import DRAWS, by_size, towards
from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.likelihood import with_metrics
from reid_audit.attack.methods import METHODS, WITH_GENERATOR
from reid_audit.attack.metric import LayerMetric
from reid_audit.attack.uninformed import uninformed
from reid_audit.audit.attack_runs import NEGATIVE_SIZE, numpy_for
from reid_audit.audit.cohorts import both_cohorts
from reid_audit.audit.evidence import Found, Terms, compare, linked, shifts
from reid_audit.audit.restricted import demographic_rows, grid, pairs, patient_scores
from reid_audit.budget import Meter
from reid_audit.observer import SilentObserver
from reid_audit.prior.gaussian import GaussianPrior
from reid_audit.prior.loading import shipped_prior
from reid_audit.prior.pggan import PgganPrior
from reid_audit.prior.sampling import draw
from reid_audit.records import Budget, Measured, Measurement, Policy
from reid_audit.report.evidence import Evidence
from reid_audit.report.evidence_pages import write_evidence
from reid_audit.score.comparison import Comparison
from reid_audit.score.demographics import demographics
from reid_audit.score.likelihood import likely_samples, screening_samples
from reid_audit.score.similarity import fit_match_space

SIDE = 64
FEW = 20
"""Patients of the overfit targets: the fewest for which a Frechet distance is given."""
CNN, VIT = "resnet18", "vit_tiny_patch16_224"
TUNED = ("fine-tuned CNN", "fine-tuned ViT")
"""Beyond the study's four: their weights before fine-tuning are public, without which there is no `gradient`."""
GENERATOR_ALONE = "un-tuned generator"
"""The negative control of the study's attack."""
QUICK = Budget(steps=120, particles=(32,))
ATTACK_SEEDS, SCREENING = 4, Budget(steps=100, particles=(16,))
"""Without films: `moments` from so many seeds, and how much they agree."""

FILMS, PEOPLE = "hold-out films", (10, FEW, 40, 100, 388)
"""How the size of a set alone shapes its figures: so many people whom no network saw."""


def target_of(kind: str, seed: int) -> Target:
    """The network that ``kind`` stands for."""
    known = "overfit" in kind or kind in TUNED
    return Target(CNN if kind.endswith("CNN") else VIT, SIDE, FEW if known else 0, seed, base=kind in TUNED)


class Cell(NamedTuple):
    """One attack on one network."""

    kind: str
    method: str
    seed: int
    twin: bool = False


ALL = (STUDY, "moments", GENERATOR_ALONE, "latent", "pixel", "gradient")
"""The study's three inversions are `gradient`, `pixel` and `latent`."""
OF_TUNED = ("gradient", "moments", GENERATOR_ALONE)
"""What is tried on the fine-tuned networks."""
EVERY_KIND, EVERY_METHOD = (FILMS, *KINDS, *TUNED), (SIZES, *ALL, AGREEMENT)
QUICKLY = ("overfit CNN", "overfit ViT", "CNN", "ViT", "fine-tuned ViT")
"""The networks of the quick column, and their order; only those by heart have twins there."""


def cells(seed: int, *, quick: bool) -> Iterator[Cell]:
    """Every cell of one training seed, the study's own attack first."""
    kinds = QUICKLY if quick else (*KINDS, *TUNED)
    four = [kind for kind in kinds if kind in KINDS]
    yield Cell(FILMS, SIZES, seed)
    yield from (Cell(kind, STUDY, seed) for kind in four)
    for kind in four:
        yield from (Cell(kind, method, seed) for method in ALL[1:] if method != "gradient")
        if kind.endswith("CNN") or not quick:
            yield Cell(kind, AGREEMENT, seed)
    yield from (Cell(kind, STUDY, seed, twin=True) for kind in four if not quick or "overfit" in kind)
    yield from (Cell(kind, method, seed) for kind in kinds if kind in TUNED for method in OF_TUNED)


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """An attack's images, those of its negative control, and what it cost."""

    task: AttackTask
    made: Reconstruction
    control: Reconstruction
    cpu_seconds: float


def bench_at(data: Path) -> Bench:
    """The films at ``SIDE`` with the shipped full-rank prior; films are compared in a space fitted on `prior`."""
    target, holdout, prior = splits(data, SIDE)
    space = shipped_prior(SIDE)
    if not isinstance(space, GaussianPrior):
        raise SystemExit(f"the shipped prior at {SIDE} px is no Gaussian, but {space.card.kind}")
    return Bench(target, holdout, prior, space, fit_match_space(prior.images))


def twin_of(bench: Bench) -> Bench:
    """``bench`` with the cohorts exchanged: what a twin learns from."""
    return replace(bench, target=bench.holdout, holdout=bench.target)


@dataclass(slots=True)
class Workshop:
    """What cells share: the films, how the attack is run, and the last network's metric, which takes half a minute."""

    bench: Bench
    folder: Path
    """Where weights and pictures are kept."""
    device: torch.device
    known: tuple[Cell, tuple[LayerMetric, ...] | None] | None = None

    def task(self, cell: Cell, budget: Budget) -> AttackTask:
        """The network, trained where it is missing, as an attacker meets it, with what the method starts from."""
        learnt, place = (twin_of(self.bench), "twins") if cell.twin else (self.bench, "targets")
        generator = cell.method in WITH_GENERATOR or cell.method == GENERATOR_ALONE
        prior = shipped_prior(SIDE, "pggan") if generator else None
        target = target_of(cell.kind, cell.seed)
        task = task_of(target, learnt, self.folder / place, budget, device=self.device, prior=prior)
        network = cell._replace(method="")
        if self.known is None or self.known[0] != network:
            self.known = network, with_metrics(task).metrics
        return replace(task, metrics=self.known[1])


def attack(method: str, task: AttackTask, seed: int) -> Attacked:
    """Reconstruct from the weights alone, and draw the negative control, which has no weights to go by."""
    run = METHODS["prior" if method == GENERATOR_ALONE else method]
    random, other = (torch.Generator(device=task.space.mean.device).manual_seed(start + seed) for start in (1000, 2000))
    began = time.process_time()
    made = run(task, generator=random, meter=Meter(None, None), observer=SilentObserver())
    spent = time.process_time() - began
    larger = tuple(NEGATIVE_SIZE * count for count in task.budget.particles)
    wide = replace(task, budget=task.budget.model_copy(update={"particles": larger}))
    control = uninformed(wide, generator=other, meter=Meter(None, None), observer=SilentObserver())
    return Attacked(task, made, control, spent)


def agreeing(cell: Cell, shop: Workshop) -> dict[str, Any]:
    """What attacks from several seeds have in common, and whether it is training patients, which only films say."""
    task, bench = shop.task(cell, SCREENING), shop.bench
    found = [attack("moments", task, 100 * again + cell.seed) for again in range(ATTACK_SEEDS)]
    made, untuned = ([getattr(each, side).images for each in found] for side in ("made", "control"))
    compared = both_cohorts(bench.members(target_of(cell.kind, cell.seed)), bench.holdout, bench.match)
    links = linked(compared, torch.cat(made), seed=cell.seed, level=Policy().level)
    common = agreement(bench.match, made, untuned, numpy_for(cell.seed, "agreement"))
    return common | {"found": figures(links.measurements), "cpu_seconds": sum(each.cpu_seconds for each in found)}


def measure(cell: Cell, found: Attacked, shop: Workshop) -> dict[str, Any]:
    """Everything said of one cell, beside its controls."""
    bench, seed = shop.bench, cell.seed
    members = bench.members(target_of(cell.kind, seed))
    compared = both_cohorts(members, bench.holdout, bench.match)
    near = screening_samples(bench.match, found.made, found.control, members.images)
    read = demographics(compared, found.made.images, blind(), numpy_for(seed, "everyone"))
    row: dict[str, Any] = {"untuned": figures(near.measurements), "everyone": figures(read.measurements)}
    if cell.method != STUDY:
        likely = likely_samples(compared, found.made, found.control, numpy_for(seed, "likely"))
        links = linked(compared, found.made.images, seed=seed, level=Policy().level)
        return row | {"found": figures((*links.measurements, *likely.measurements))}
    moved = shifts(found.task, bench.prior.images, found.made, members.images, seed=seed)
    if cell.twin:
        return row | {
            "found": figures((*beside_twin(compared, found, seed), *moved)),
            "towards": shown_in(found, bench, compared, seed, draws=1),
        }
    terms = Terms(seed, Policy().level, predictors=blind)
    whole = compare(found.task, compared, bench.prior.images, found.made, found.control, terms)
    keep(cell, found, whole, shop)
    module = found.task.target.module
    return row | {
        "found": figures((*whole.measurements, *moved)),
        "towards": shown_in(found, bench, compared, seed),
        "accuracy": [accuracy(module, members), accuracy(module, bench.holdout)],
    }


def shown_in(found: Attacked, bench: Bench, compared: Comparison, seed: int, draws: int = DRAWS) -> dict[str, Any]:
    """How near the generator is to the training films before and after it was tuned; ``draws`` of other patients."""
    tuned = found.made.tuned_samples
    if tuned is None or not isinstance(found.task.prior, PgganPrior):
        raise ValueError("the attack tunes no generator")
    sets = {"original": draw(found.task.prior, len(tuned), SIDE, seed), "tuned": tuned.cpu()}
    shown = towards(sets, bench.prior.images, compared, numpy_for(seed, "towards"), draws=draws)
    return {name: part._asdict() for name, part in shown.items()}


def beside_twin(compared: Comparison, found: Attacked, seed: int) -> tuple[Measurement, ...]:
    """What a twin's likely samples resemble among the target's patients, whom the twin has never seen."""
    likely = likely_samples(compared, found.made, found.control, numpy_for(seed, "likely"))
    rows = torch.from_numpy(likely.indices) if likely.indices.size else torch.arange(len(found.made.images))
    read = demographics(compared, found.made.images[rows], blind(), numpy_for(seed, "demographics"))
    return (*likely.measurements, *read.measurements)


def figures(measurements: tuple[Measurement, ...]) -> dict[str, dict[str, Any]]:
    """Measurements by name, as a row keeps them; what was not measured is left out."""
    kept = ("value", "low", "high", "control", "n", "p")
    return {m.metric.value: {name: getattr(m, name) for name in kept} for m in measurements if isinstance(m, Measured)}


def keep(cell: Cell, found: Attacked, whole: Found, shop: Workshop) -> None:
    """The study's pictures: each likely sample beside its nearest match, for those who may see patients' films."""
    bench, folder = shop.bench, shop.folder / "restricted" / f"{cell.kind}-{cell.seed}".replace(" ", "-")
    path = weights_of(target_of(cell.kind, cell.seed), bench, shop.folder / "targets")
    evidence = Evidence(
        checkpoint_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        outcome="not judged (benchmarks/study.py)",
        pairs=pairs(bench.match, whole, found.made),
        grid=grid(found.task, found.made),
        demographics=demographic_rows(whole),
        patients=patient_scores(whole),
    )
    write_evidence(evidence, folder)


def run(options: argparse.Namespace) -> None:
    budget = QUICK if options.quick else Budget()
    said = budget_of(budget.steps, list(budget.particles))
    seeds = options.seeds or ([0] if options.quick else [0, 1])
    done = {(r["kind"], r["method"], r["seed"], r["twin"], r["budget"]) for r in rows_of(options.out)}
    shop = Workshop(bench_at(options.data), options.out.parent, torch.device(options.device))
    for cell in (each for seed in seeds for each in cells(seed, quick=options.quick)):
        wanted = cell.kind in (options.only or EVERY_KIND) and cell.method in (options.methods or EVERY_METHOD)
        if not wanted or (*cell, said) in done:
            continue
        began = time.process_time()
        row = cell._asdict() | {"budget": said, "device": options.device, "threads": torch.get_num_threads()}
        if cell.method == SIZES:
            others = shop.bench.holdout
            row["sizes"] = by_size(others.images, others.patients, PEOPLE, numpy_for(cell.seed, SIZES))
        elif cell.method == AGREEMENT:
            row |= agreeing(cell, shop)
        else:
            found = attack(cell.method, shop.task(cell, budget), cell.seed)
            row |= measure(cell, found, shop) | {"cpu_seconds": found.cpu_seconds}
        row |= {"whole_cpu_seconds": time.process_time() - began}
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"{cell.kind}{', twin' if cell.twin else ''}, {cell.method}: {row['whole_cpu_seconds']:.0f} CPU s",
            flush=True,
        )


def write(options: argparse.Namespace) -> None:
    rows = rows_of(options.out)
    for name, table in TABLES.items():
        found = table.rows(rows)
        if found:
            publish(table.head, found, options.doc, keys=table.keys, mark=name)
    publish(REREAD_HEAD, reread_rows(), options.doc, keys=1, mark="reread")


def main() -> None:
    parser, running = run_and_table(__doc__, "study.jsonl", run, write)
    running.add_argument("--quick", action="store_true", help="one seed, 120 steps, 32 particles")
    running.add_argument("--seeds", type=int, nargs="+")
    running.add_argument("--only", nargs="+", choices=EVERY_KIND)
    running.add_argument("--methods", nargs="+", choices=EVERY_METHOD)
    running.add_argument("--device", default="cpu")
    carry_out(parser)


if __name__ == "__main__":
    main()
