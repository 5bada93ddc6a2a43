"""What each attack recovers from real targets: docs/power.md from measurements, cell by cell.

    python -m benchmarks.power run --data ../shared/data/nih_cxr14 [--grid core|full|large|small] [--device cuda]
                                   [--only resnet18-64-overfit-8 ...] [--methods moments prior ...]
    python -m benchmarks.power table --doc docs/power.md

A cell is (architecture, side, training, seed, method, budget). Finished cells are kept in ``--out``, one JSON line
each, so that a run can be stopped and continued; rows of the page that were not measured again stay. Targets learn
the sex of NIH ChestX-ray14 patients of the `target` split, the patients of `holdout` are the non-members, the prior
is fitted on the `prior` split. No patient here was used to choose the attack's settings: those were chosen on
patients of the `prior` split (docs/tuning.md). `prior-pggan` is `prior` with samples of the un-tuned generator.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.lab.attacks import task_of
from benchmarks.lab.command import carry_out, run_and_table
from benchmarks.lab.flops import Flops
from benchmarks.lab.pages import Row, publish
from benchmarks.lab.rows import budget_of, measured, rows_of
from benchmarks.lab.targets import Bench, Target, weights_of
from benchmarks.lab.training import NotKnownByHeart
from reid_audit.attack.interface import Attack, AttackTask, Reconstruction
from reid_audit.attack.methods import METHODS
from reid_audit.attack.moments import moments
from reid_audit.attack.refinement import RefineSettings
from reid_audit.audit.allowance import unlimited
from reid_audit.audit.cohorts import both_cohorts
from reid_audit.audit.evidence import linked
from reid_audit.audit.recognition import recognition
from reid_audit.budget import Meter
from reid_audit.errors import AuditError
from reid_audit.observer import SilentObserver
from reid_audit.prior.loading import shipped_prior
from reid_audit.records import Budget, Metric, Policy, Unmeasured
from reid_audit.score.comparison import Comparison
from reid_audit.score.similarity import cosines, ssim

PRIOR_PGGAN = "prior-pggan"
PLAIN_MOMENTS = "moments-plain"
"""`moments` with the plain distance instead of the metric measured on the prior."""
GENERATOR = ("two-stage", "latent", PRIOR_PGGAN)
"""Methods whose prior is the shipped PGGAN."""

Grid = tuple[tuple[Target, ...], tuple[str, ...]]
"""Targets, and the methods tried on each."""

GRIDS: dict[str, Grid] = {
    "small": ((Target("resnet18", 64, 8, 0),), ("moments", "prior")),
    "core": (
        tuple(Target("resnet18", 64, n, seed) for seed in (0, 1) for n in (8, 16, 32, 0)),
        ("moments", PLAIN_MOMENTS, "prior", "two-stage", PRIOR_PGGAN),
    ),
    "full": (
        (
            *(Target("resnet18", 64, n, seed) for seed in (0, 1, 2) for n in (8, 16, 32, 64, 0)),
            *(Target("resnet18", 64, 0, seed, epochs=True) for seed in (0, 1)),
            *(Target(name, 64, n, seed, base=True) for name in ("resnet18", "vit_tiny_patch16_224")
              for seed in (0, 1) for n in (8, 16)),
            *(Target(name, 64, n, seed) for name in ("densenet121", "convnext_atto", "vit_tiny_patch16_224")
              for seed in (0, 1) for n in (8, 16, 32, 0)),
            *(Target("resnet50_gn", 64, n, 0) for n in (8, 16, 0)),
            *(Target("resnet18", 128, n, 0) for n in (8, 16, 32)),
        ),
        ("moments", "prior", "two-stage", PRIOR_PGGAN, "latent", "pixel", "gradient"),
    ),
    "large": (
        tuple(Target(name, 224, n, 0) for name in ("resnet18", "resnet50", "densenet121") for n in (8, 16, 32)),
        ("moments", "prior"),
    ),
}  # fmt: skip
ATTACKS: dict[str, Attack] = METHODS | {
    PRIOR_PGGAN: METHODS["prior"],
    PLAIN_MOMENTS: partial(moments, settings=RefineSettings()),
}
NAMES = tuple(ATTACKS)


def fits(target: Target, method: str) -> bool:
    """`gradient` needs the weights that training started from."""
    return target.base or method != "gradient"


def attack(target: Target, method: str, bench: Bench, budget: Budget, device: torch.device, folder: Path) -> Attacked:
    """Identify the network from its weights alone, and its base where it has one, and reconstruct."""
    prior = shipped_prior(target.side, "pggan") if method in GENERATOR else None
    task = task_of(target, bench, folder, budget, device=device, prior=prior)
    run = ATTACKS[method]
    generator = torch.Generator(device=device).manual_seed(1000 + target.seed)
    began = time.process_time()
    with Flops() as counter:
        made = run(task, generator=generator, meter=Meter(None, None), observer=SilentObserver())
    return Attacked(task, made, counter.total, time.process_time() - began)


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """Frozen reconstructions and what they cost."""

    task: AttackTask
    made: Reconstruction
    flop: int
    cpu_seconds: float


def measure(found: Attacked, compared: Comparison, seed: int) -> dict[str, Any]:
    """Linkage, look-alikes and cost of one cell."""
    images, gallery = found.made.images, compared.images[:]
    found_of = linked(compared, images, seed=seed, level=Policy().level).measurements
    member = torch.from_numpy(compared.is_member)
    row: dict[str, Any] = {m.metric.value: None if isinstance(m, Unmeasured) else m.value for m in found_of}
    auc, share = (measured(found_of, m) for m in (Metric.LINKAGE_AUC, Metric.NEAREST_MEMBER_SHARE))
    row |= {"auc_low": auc.low, "auc_high": auc.high, "chance": share.control}
    for name, table in (
        ("nn", cosines(compared.space, images, compared.images)),
        ("ssim", torch.stack([ssim(image[None], gallery) for image in images])),
    ):
        row[f"{name}_member"] = float(table[:, member].max())
        row[f"{name}_holdout"] = float(table[:, ~member].max())
    return row | {
        "energy_start": found.made.energy_start,
        "energy_end": found.made.energy_end,
        "seconds": found.made.spend.seconds,
        "cpu_seconds": found.cpu_seconds,
        "steps": found.made.spend.steps,
        "flop": found.flop,
    }


def recognised(task: AttackTask, compared: Comparison, seed: int) -> dict[str, Any]:
    """Membership figures of the target itself; the same for every method."""
    found = recognition(task, compared, unlimited(), seed).outcome
    return {m.metric.value: None if isinstance(m, Unmeasured) else m.value for m in found.measurements}


def pending(options: argparse.Namespace, rows: list[dict[str, Any]]) -> Iterator[tuple[Target, str]]:
    """Cells that are still to run, method by method."""
    done = {(row["target"], row["method"], row["budget"]) for row in rows}
    budget = budget_of(options.steps, options.particles)
    targets, methods = GRIDS[options.grid]
    for method in options.methods or methods:
        for target in targets:
            wanted = target.name.startswith(tuple(options.only)) and fits(target, method)
            if wanted and (target.name, method, budget) not in done:
                yield target, method


def run(options: argparse.Namespace) -> None:
    benches: dict[int, Bench] = {}
    budget = Budget(steps=options.steps, particles=tuple(options.particles))
    for target, method in pending(options, rows_of(options.out)):
        if target.side not in benches:
            benches[target.side] = Bench.at(options.data, target.side)
        row = cell(target, method, benches[target.side], budget, options)
        if row is None:
            continue
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"{target.name} {method}: p {row['linkage_p']:.4g}, AUC {row['linkage_auc']:.3f}, {row['seconds']:.0f} s",
            flush=True,
        )


def cell(
    target: Target, method: str, bench: Bench, budget: Budget, options: argparse.Namespace
) -> dict[str, Any] | None:
    """One row; None for a method that does not fit this network, which must not cost the other cells."""
    folder = options.out.parent / "targets"
    began = time.monotonic()
    try:
        weights_of(target, bench, folder, torch.device(options.device))
        print(f"{target.name}: trained in {time.monotonic() - began:.0f} s", flush=True)
        found = attack(target, method, bench, budget, torch.device(options.device), folder)
    except (AuditError, NotKnownByHeart) as refusal:
        print(f"{target.name} {method}: {refusal}", flush=True)
        return None
    compared = both_cohorts(bench.members(target), bench.holdout, bench.match)
    return (
        {"target": target.name, "method": method, "budget": budget_of(options.steps, options.particles)}
        | asdict(target)
        | measure(found, compared, target.seed)
        | recognised(found.task, compared, target.seed)
        | {"threads": torch.get_num_threads(), "device": options.device}
    )


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("target", lambda r: r["target"]),
    ("method", lambda r: r["method"]),
    ("steps x particles", lambda r: r["budget"]),
    ("linkage_p", lambda r: f"{r['linkage_p']:.2g}"),
    ("linkage_auc", lambda r: f"{r['linkage_auc']:.2f} [{r['auc_low']:.2f}, {r['auc_high']:.2f}]"),
    ("TPR at 1 % FPR", lambda r: f"{r['linkage_tpr_at_1pct_fpr']:.2f}"),
    ("re-identified", lambda r: f"{r['reidentified_patients']:.0f}"),
    ("nearest is a member (chance)", lambda r: f"{r['nearest_member_share']:.2f} ({r['chance']:.2f})"),
    ("NN member / hold-out", lambda r: f"{r['nn_member']:.2f} / {r['nn_holdout']:.2f}"),
    ("SSIM member / hold-out", lambda r: f"{r['ssim_member']:.2f} / {r['ssim_holdout']:.2f}"),
    ("membership AUC, TPR", lambda r: f"{r['membership_auc']:.2f}, {r['membership_tpr_at_1pct_fpr']:.2f}"),
    ("energy", lambda r: f"{r['energy_start']:.1e} to {r['energy_end']:.1e}"),
    ("CPU s", lambda r: f"{r['cpu_seconds']:.0f}"),
    ("steps", lambda r: str(r["steps"])),
    ("TFLOP", lambda r: f"{r['flop'] / 1e12:.1f}"),
)  # fmt: skip


KEYS = 3
"""How many columns say which cell a row is."""


def table(rows: list[dict[str, Any]]) -> list[Row]:
    """One row a cell."""
    return [tuple(text(row) for _, text in COLUMNS) for row in rows]


def write(options: argparse.Namespace) -> None:
    publish([name for name, _ in COLUMNS], table(rows_of(options.out)), options.doc, keys=KEYS)


def parser() -> argparse.ArgumentParser:
    """The command line; ``action`` is what it asks for."""
    parser, running = run_and_table(__doc__, "power.jsonl", run, write)
    running.add_argument("--grid", choices=sorted(GRIDS), default="core")
    running.add_argument("--steps", type=int, default=Budget().steps)
    running.add_argument("--particles", type=int, nargs="+", default=list(Budget().particles))
    running.add_argument("--only", nargs="+", default=[""], metavar="TARGET-PREFIX")
    running.add_argument("--methods", nargs="+", choices=sorted(NAMES))
    running.add_argument("--device", default="cpu")
    return parser


def main() -> None:
    carry_out(parser())


if __name__ == "__main__":
    main()
