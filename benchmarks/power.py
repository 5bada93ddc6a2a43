"""What each attack recovers from real targets: docs/power.md from measurements, cell by cell.

    python benchmarks/power.py run --data ../shared/data/nih_cxr14 [--grid core|full|small] [--device cuda]
    python benchmarks/power.py table --doc docs/power.md

A cell is (architecture, side, training, seed, method). Finished cells are kept in ``--out``, one JSON line each, so
that a run can be stopped and continued. Targets learn the sex of NIH ChestX-ray14 patients of the `target` split,
the patients of `holdout` are the non-members, the prior is fitted on the `prior` split. No patient here was used to
choose the attack's settings: those were chosen on patients of the `prior` split (docs/power.md).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from real import few, sex_labels
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training import SPEC, overfit, regular

from reid_audit.arch.identify import identify
from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.methods import METHODS
from reid_audit.audit.evidence import families
from reid_audit.audit.sides import Pooled
from reid_audit.budget import Meter
from reid_audit.cohort import Cohort, load_cohort
from reid_audit.errors import AuditError
from reid_audit.observer import SilentObserver
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.prior.interface import Prior
from reid_audit.prior.loading import shipped_prior
from reid_audit.records import Budget, Metric, Unmeasured, find
from reid_audit.score.exposure import exposure
from reid_audit.score.linkage import link
from reid_audit.score.similarity import MatchSpace, cosines, fit_match_space, match_scores, ssim_matrix

ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda _: torchvision.models.resnet18(num_classes=2),
    "densenet121": lambda _: torchvision.models.densenet121(num_classes=2),
    "convnext_atto": lambda _: timm.create_model("convnext_atto", num_classes=2),
    "vit_tiny_patch16_224": lambda side: timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=side),
}
"""Untrained networks for a side in pixels."""
GENERATOR = ("two-stage", "latent")


@dataclass(frozen=True, slots=True)
class Target:
    """One network to attack: ``members`` patients (0: all of the split, trained with care)."""

    architecture: str
    side: int
    members: int
    seed: int

    @property
    def name(self) -> str:
        kind = f"overfit-{self.members}" if self.members else "regular"
        return f"{self.architecture}-{self.side}-{kind}-{self.seed}"


GRIDS: dict[str, tuple[tuple[Target, ...], tuple[str, ...]]] = {
    "small": ((Target("resnet18", 64, 8, 0),), ("moments", "prior")),
    "core": (
        tuple(Target("resnet18", 64, n, seed) for seed in (0, 1) for n in (8, 16, 32, 0)),
        ("moments", "prior", "two-stage"),
    ),
    "full": (
        (
            *(Target("resnet18", 64, n, seed) for seed in (0, 1, 2) for n in (8, 16, 32, 64, 0)),
            *(Target(name, 64, n, seed) for name in ARCHITECTURES if name != "resnet18" for seed in (0, 1)
              for n in (8, 16, 32, 0)),
            *(Target("resnet18", 128, n, 0) for n in (8, 16, 32)),
        ),
        ("moments", "prior", "two-stage", "latent", "pixel"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """The films at one side, and what is fitted on the prior's."""

    target: Cohort
    holdout: Cohort
    space: GaussianPrior
    match: MatchSpace

    @classmethod
    def at(cls, data: Path, side: int) -> Bench:
        target, holdout, prior = (
            load_cohort(data, role=role, spec=SPEC, side=side, where={"split": split})
            for split, role in (("target", "reference"), ("holdout", "holdout"), ("prior", "reference"))
        )
        space = fit_gaussian(
            prior.images,
            name="nih-cxr14-prior",
            declared=("NIH ChestX-ray14, split prior",),
            generator=torch.Generator().manual_seed(0),
        )
        return cls(target, holdout, space, fit_match_space(prior.images))

    def members(self, target: Target) -> Cohort:
        return few(self.target, target.members, target.seed) if target.members else self.target


def weights_of(target: Target, bench: Bench, folder: Path) -> Path:
    """The trained checkpoint, made where it is missing."""
    path = folder / f"{target.name}.safetensors"
    if not path.exists():
        films = bench.members(target)
        train = overfit if target.members else regular
        module = train(
            partial(ARCHITECTURES[target.architecture], target.side), films.images, sex_labels(films), seed=target.seed
        )
        folder.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), path)
    return path


def attack(target: Target, method: str, path: Path, bench: Bench, budget: Budget, device: torch.device) -> Attacked:
    """Identify the network from its weights alone and reconstruct."""
    network = identify(load_file(path), side=target.side)
    prior: Prior = shipped_prior(target.side, "pggan") if method in GENERATOR else bench.space
    task = AttackTask(
        target=replace(network, module=network.module.to(device)),
        prior=prior.to(device),
        space=bench.space.to(device),
        preprocess=SPEC.model_copy(update={"side": target.side}),
        budget=budget,
    )
    generator = torch.Generator(device=device).manual_seed(1000 + target.seed)
    began = time.process_time()
    with FlopCounterMode(display=False) as counter:
        made = METHODS[method](task, generator=generator, meter=Meter(None, None), observer=SilentObserver())
    return Attacked(task, made, counter.get_total_flops(), time.process_time() - began)


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """Frozen reconstructions and what they cost."""

    task: AttackTask
    made: Reconstruction
    flop: int
    cpu_seconds: float


def measure(found: Attacked, pooled: Pooled, bench: Bench, seed: int) -> dict[str, Any]:
    """Linkage, look-alikes and cost of one cell."""
    images = found.made.images
    linked = link(
        match_scores(bench.match, images, pooled.films).double().numpy(),
        pooled.patients,
        pooled.is_member,
        pooled.strata,
        np.random.default_rng(seed),
    )
    member = torch.from_numpy(pooled.is_member)
    row: dict[str, Any] = {m.metric.value: None if isinstance(m, Unmeasured) else m.value for m in linked.measurements}
    auc, share = (find(linked.measurements, m) for m in (Metric.LINKAGE_AUC, Metric.NEAREST_MEMBER_SHARE))
    row |= {"auc_low": auc.low, "auc_high": auc.high, "chance": share.control}
    for name, table in (
        ("nn", cosines(bench.match, images, pooled.films)),
        ("ssim", ssim_matrix(images, pooled.films, dtype=torch.float32)),
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


def exposed(task: AttackTask, pooled: Pooled, seed: int) -> dict[str, Any]:
    """Owner-side exposure of the target itself; the same for every method."""
    found = exposure(
        families(task, pooled.films),
        pooled.patients,
        pooled.is_member,
        pooled.strata,
        np.random.default_rng(seed),
        draws=200,
    )
    return {m.metric.value: None if isinstance(m, Unmeasured) else m.value for m in found.measurements}


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Finished cells; a line cut short by a kill is ignored."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def pending(grid: str, rows: list[dict[str, Any]]) -> Iterator[tuple[Target, str]]:
    """Cells that are still to run, method by method."""
    done = {(row["target"], row["method"]) for row in rows}
    targets, methods = GRIDS[grid]
    yield from ((t, method) for method in methods for t in targets if (t.name, method) not in done)


def run(options: argparse.Namespace) -> None:
    benches: dict[int, Bench] = {}
    budget = Budget(steps=options.steps, particles=tuple(options.particles))
    for target, method in pending(options.grid, rows_of(options.out)):
        if target.side not in benches:
            benches[target.side] = Bench.at(options.data, target.side)
        bench = benches[target.side]
        began = time.monotonic()
        path = weights_of(target, bench, options.out.parent / "targets")
        print(f"{target.name}: trained in {time.monotonic() - began:.0f} s", flush=True)
        try:
            found = attack(target, method, path, bench, budget, torch.device(options.device))
        except AuditError as refusal:  # a method that does not fit this network must not cost the other cells
            print(f"{target.name} {method}: {refusal}", flush=True)
            continue
        pooled = Pooled.of(bench.members(target), bench.holdout)
        row = {"target": target.name, "method": method, **asdict(target)} | measure(found, pooled, bench, target.seed)
        row |= exposed(found.task, pooled, target.seed)
        row |= {"particles": list(budget.particles), "threads": torch.get_num_threads()}
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"{target.name} {method}: p {row['linkage_p']:.4g}, AUC {row['linkage_auc']:.3f}, {row['seconds']:.0f} s",
            flush=True,
        )


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("target", lambda r: r["target"]),
    ("method", lambda r: r["method"]),
    ("linkage_p", lambda r: f"{r['linkage_p']:.2g}"),
    ("linkage_auc", lambda r: f"{r['linkage_auc']:.2f} [{r['auc_low']:.2f}, {r['auc_high']:.2f}]"),
    ("TPR at 1 % FPR", lambda r: f"{r['linkage_tpr_at_1pct_fpr']:.2f}"),
    ("re-identified", lambda r: f"{r['reidentified_patients']:.0f}"),
    ("nearest is a member (chance)", lambda r: f"{r['nearest_member_share']:.2f} ({r['chance']:.2f})"),
    ("NN member / hold-out", lambda r: f"{r['nn_member']:.2f} / {r['nn_holdout']:.2f}"),
    ("SSIM member / hold-out", lambda r: f"{r['ssim_member']:.2f} / {r['ssim_holdout']:.2f}"),
    ("exposure AUC, TPR", lambda r: f"{r['exposure_auc']:.2f}, {r['exposure_tpr_at_1pct_fpr']:.2f}"),
    ("energy", lambda r: f"{r['energy_start']:.1e} to {r['energy_end']:.1e}"),
    ("CPU s", lambda r: f"{r['cpu_seconds']:.0f}"),
    ("steps", lambda r: str(r["steps"])),
    ("TFLOP", lambda r: f"{r['flop'] / 1e12:.1f}"),
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, one line a cell."""
    lines = ["| " + " | ".join(name for name, _ in COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in sorted(
        rows, key=lambda r: (r["architecture"], r["side"], r["members"] or 10**6, r["seed"], r["method"])
    ):
        lines.append("| " + " | ".join(cell(row) for _, cell in COLUMNS) + " |")
    return "\n".join(lines)


BEGIN, END = "<!-- table -->", "<!-- /table -->"


def publish(text: str, page: Path | None) -> None:
    """Print a table, and replace the one between the two marks of ``page``."""
    print(text)
    if page is not None:
        head, rest = page.read_text(encoding="utf-8").split(BEGIN)
        page.write_text(head + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1], encoding="utf-8")


def write(options: argparse.Namespace) -> None:
    publish(table(rows_of(options.out)), options.doc)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/power.jsonl"))
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--grid", choices=sorted(GRIDS), default="core")
    running.add_argument("--steps", type=int, default=Budget().steps)
    running.add_argument("--particles", type=int, nargs="+", default=list(Budget().particles))
    running.add_argument("--device", default="cpu")
    running.set_defaults(action=run)
    writing = commands.add_parser("table")
    writing.add_argument("--doc", type=Path)
    writing.set_defaults(action=write)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.action(options)


if __name__ == "__main__":
    main()
