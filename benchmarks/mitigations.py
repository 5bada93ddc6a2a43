"""What mitigations buy and cost on really trained networks: docs/mitigations.md from measurements, row by row.

    python -m benchmarks.mitigations run --data ../shared/data/nih_cxr14 [--only heart-16 care-388]
    python -m benchmarks.mitigations table --doc docs/mitigations.md

Targets are ResNet-18 that learn the sex of NIH ChestX-ray14 patients of the `target` split at 32 px; the patients of
`holdout` are the non-members, the films of `prior` are the public ones and those of the attacker's prior. A row is
(network, mitigation). In-training mitigations are networks of their own. Differentially private training needs
`pip install "reid-audit[dp]"`; without it its row is left out.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

import reid_audit
from benchmarks.lab.command import carry_out, run_and_table
from benchmarks.lab.data import SPEC, few, sex_labels
from benchmarks.lab.hardened import RECIPES, NotInstalled
from benchmarks.lab.pages import marked, publish, rows_of_table
from benchmarks.lab.pareto import Point, pareto
from benchmarks.lab.rows import measured, rows_of
from benchmarks.lab.targets import Bench, kept
from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.attack.interface import AttackTask
from reid_audit.attack.methods import METHODS
from reid_audit.audit.allowance import unlimited
from reid_audit.audit.cohorts import both_cohorts
from reid_audit.audit.evidence import linked
from reid_audit.audit.recognition import recognition
from reid_audit.budget import Meter, unhurried
from reid_audit.cohort import Cohort
from reid_audit.errors import AuditError
from reid_audit.mitigate.apply import mitigated
from reid_audit.mitigate.copy_file import write_copy
from reid_audit.mitigate.interface import Given, Public
from reid_audit.mitigate.registry import MITIGATIONS
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import to_network
from reid_audit.records import Budget, Measured, Metric, Policy
from reid_audit.report.advice import MeasuredMitigation
from reid_audit.score.utility import Answers, utility

SIDE = 32
NOTHING = "none"
ADVICE = Path(reid_audit.__file__).parent / "report" / "data" / "mitigations.json"
"""What reports advise by."""
AFTER = ("heart-16", "heart-388")
"""Networks that mitigations after training are tried on."""
ORDER = (NOTHING, *MITIGATIONS)


@dataclass(frozen=True, slots=True)
class Network:
    """One way to train on the films of so many patients."""

    recipe: str
    """A name of ``RECIPES``."""
    patients: int
    """388: every film of the split; else one film each."""

    @property
    def name(self) -> str:
        return f"{self.recipe}-{self.patients}"


NETWORKS = (
    Network("heart", 16),
    Network("heart", 388),
    *(Network(name, 388) for name in RECIPES if name != "heart"),
    Network("heart", 64),
)


def films_of(network: Network, bench: Bench) -> Cohort:
    """The films a network is trained on, with the sex as their label."""
    everybody = network.patients >= bench.target.summary.patients
    chosen = bench.target if everybody else few(bench.target, network.patients, 0)
    return replace(chosen, labels=chosen.sexes)


def trained(network: Network, bench: Bench, folder: Path) -> Path:
    """The checkpoint, made where it is missing. Raises NotInstalled."""
    films, recipe = films_of(network, bench), RECIPES[network.recipe]
    return kept(folder / f"{network.name}.safetensors", lambda: recipe.train(films.images, sex_labels(films)))


def public_films(bench: Bench) -> Public:
    """The films of the prior, with the sex as their label."""
    return Public(bench.prior.images, bench.prior.sexes, "public films")


def prepare(images: torch.Tensor) -> torch.Tensor:
    return to_network(images, SPEC, 3)


def copied(original: Target, name: str, members: Cohort, bench: Bench, folder: Path) -> Target:
    """The mitigated network as its file holds it. Raises AuditError where the mitigation does not fit."""
    each = int(np.unique(members.patients, return_counts=True)[1].max())
    given = Given(prepare, 0, unhurried(), public_films(bench), len(members.images), each)
    made, _ = mitigated(original, [name], given)
    path = folder / f"{name}.safetensors"
    write_copy(made, path)
    return identify(load_file(path), side=SIDE)


def cell(target: Target, members: Cohort, bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Membership, linkage and utility of one network."""
    budget = Budget(steps=options.steps, particles=tuple(options.particles))
    spec = SPEC.model_copy(update={"side": SIDE})
    task = AttackTask(target, bench.space, bench.space, spec, budget)
    holdout = replace(bench.holdout, labels=bench.holdout.sexes)
    compared = both_cohorts(members, holdout, bench.match)
    found = recognition(task, compared, unlimited(), 0)
    generator = torch.Generator().manual_seed(1000)
    made = METHODS["moments"](task, generator=generator, meter=Meter(None, None), observer=SilentObserver())
    links = linked(compared, made.images, seed=0, level=Policy().level).measurements
    auc, tpr = (measured(found.measurements, m) for m in (Metric.MEMBERSHIP_AUC, Metric.MEMBERSHIP_TPR))
    row: dict[str, Any] = {
        "auc": ends(auc),
        "tpr": ends(tpr),
        "families": {name: [a, t] for name, a, t in found.outcome.by_family},
        "gap": ends(found.gap) if isinstance(found.gap, Measured) else None,
    }
    for metric in (Metric.LINKAGE_P, Metric.LINKAGE_AUC, Metric.REIDENTIFIED_PATIENTS):
        row[metric.value] = measured(links, metric).value
    return row | {"utility": useful(target, holdout)}


def useful(target: Target, holdout: Cohort) -> dict[str, list[float]]:
    """Accuracy, AUC and loss on the hold-out films; empty where the network gives no answers."""
    if target.match.head == "features":
        return {}
    with torch.no_grad():
        outputs = torch.cat([target.module(prepare(part)) for part in torch.split(holdout.images, 128)])
    answers = Answers(target.match.head, outputs, sex_labels(holdout), holdout.patients)
    return {
        one.name: [one.value, one.low, one.high]
        for one in utility(answers, np.random.default_rng(0))
    }  # fmt: skip


def ends(found: Measured) -> list[float]:
    """Value and interval."""
    return [found.value, found.low or 0.0, found.high or 0.0]


def pending(options: argparse.Namespace) -> Iterator[tuple[Network, str]]:
    """Rows that are still to be measured: each network as it is, and mitigations after training on some."""
    done = {(row["network"], row["mitigation"]) for row in rows_of(options.out)}
    networks = [network for network in NETWORKS if network.name.startswith(tuple(options.only))]
    copies = [(network, name) for network in networks if network.name in AFTER for name in MITIGATIONS]
    for network, name in [*((network, NOTHING) for network in networks), *copies]:
        if name in (options.mitigations or ORDER) and (network.name, name) not in done:
            yield network, name


def run(options: argparse.Namespace) -> None:
    bench, folder = Bench.at(options.data, SIDE), options.out.parent / "mitigations"
    for network, name in pending(options):
        began = time.process_time()
        try:
            path = trained(network, bench, folder)
            target = identify(load_file(path), side=SIDE, name=RECIPES[network.recipe].architecture)
            members = films_of(network, bench)
            if name != NOTHING:
                target = copied(target, name, members, bench, folder / network.name)
            row = cell(target, members, bench, options)
        except (AuditError, NotInstalled) as refusal:
            print(f"{network.name} {name}: {refusal}", flush=True)
            continue
        row |= {
            "network": network.name,
            "mitigation": name,
            "films": len(members.images),
            "budget": f"{options.steps} x {' + '.join(map(str, options.particles))}",
            "cpu_seconds": time.process_time() - began,
        }
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{network.name} {name}: {row}", flush=True)


def interval(estimate: list[float] | None, digits: int = 2) -> str:
    """``0.91 [0.80, 0.99]``; a dash where there is nothing."""
    if not estimate:
        return "–"
    wide = max(map(abs, estimate)) >= 100
    value, low, high = (f"{number:.1e}" if wide else f"{number:.{digits}f}" for number in estimate)
    return f"{value} [{low}, {high}]"


def each_family(row: dict[str, Any]) -> str:
    return "; ".join(f"{name} {a:.2f}" for name, (a, _) in row["families"].items())


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("network", lambda r: r["network"]),
    ("mitigation", lambda r: r["mitigation"]),
    ("membership AUC", lambda r: interval(r["auc"])),
    ("TPR at 1 % FPR", lambda r: interval(r["tpr"])),
    ("AUC by family", each_family),
    ("linkage p", lambda r: f"{r['linkage_p']:.2g}"),
    ("re-identified", lambda r: f"{r['reidentified_patients']:.0f}"),
    ("gap", lambda r: interval(r["gap"])),
    ("accuracy", lambda r: interval(r["utility"].get("accuracy"))),
    ("AUC", lambda r: interval(r["utility"].get("auc"))),
    ("loss", lambda r: interval(r["utility"].get("loss"))),
    ("budget", lambda r: r["budget"]),
    ("CPU s", lambda r: f"{r['cpu_seconds']:.0f}"),
)
HEAD, KEYS = tuple(name for name, _ in COLUMNS), 2
NUMBER = re.compile(r"[\d.]+")
BY_HEART = "heart-388"
"""What networks that were trained otherwise are compared with."""
IN_TRAINING = {
    "early-stop": "Stop training after a few epochs.",
    "weight-decay": "Train with weight decay.",
    "augmentation": "Train with augmentation.",
    "label-smoothing": "Train with label smoothing.",
    "groupnorm": "Train with GroupNorm instead of BatchNorm.",
    "care": "Train with augmentation, weight decay and an early stop.",
    "dp-sgd": "Train with DP-SGD.",
}


def write(options: argparse.Namespace) -> None:
    """The table, and beside the page the picture of all its rows with a utility, and what reports advise by."""
    table = [tuple(text(row) for _, text in COLUMNS) for row in rows_of(options.out)]
    publish(HEAD, table, options.doc, keys=KEYS)
    if options.doc is not None:
        rows = of_page(options.doc)
        options.doc.with_suffix(".svg").write_text(pareto(points(rows)), encoding="utf-8")
        ADVICE.write_text(advice_of(rows), encoding="utf-8")


def of_page(page: Path) -> list[dict[str, Any]]:
    """Every row of the page's table, as far as the picture and the advice need it."""
    found = []
    for cells in rows_of_table(marked(page, "table")[1], HEAD):
        cell = dict(zip(HEAD, cells, strict=True))
        auc, accuracy = ([float(n) for n in NUMBER.findall(cell[name])] for name in ("membership AUC", "accuracy"))
        row = {"network": cell["network"], "mitigation": cell["mitigation"], "auc": auc}
        useful = {"accuracy": accuracy} if accuracy else {}
        found.append(row | {"linkage_p": float(cell["linkage p"]), "utility": useful})
    return found


def advice_of(rows: list[dict[str, Any]]) -> str:
    """The file that reports advise by."""
    return json.dumps([row.model_dump(mode="json") for row in advised(rows)], indent=1) + "\n"


def advised(rows: list[dict[str, Any]]) -> list[MeasuredMitigation]:
    """What reports advise by: every row beside the network it has to be compared with."""
    plain = {row["network"]: row for row in rows if row["mitigation"] == NOTHING}
    found = []
    for row in rows:
        in_training = row["mitigation"] == NOTHING
        before = plain.get(BY_HEART if in_training else row["network"])
        if before is None or (in_training and row["network"].startswith("heart")):
            continue
        name = row["network"].rpartition("-")[0] if in_training else row["mitigation"]
        loaded = None if in_training else MITIGATIONS[name].load()
        found.append(
            MeasuredMitigation(
                name=name,
                network=described(before["network"]),
                patients=int(before["network"].rpartition("-")[2]),
                in_training=in_training,
                idea=IN_TRAINING[name] if loaded is None else loaded.idea,
                effect=None if loaded is None else loaded.effect,
                membership=row["auc"],
                membership_before=before["auc"],
                linkage_p=row["linkage_p"],
                linkage_p_before=before["linkage_p"],
                accuracy=row["utility"]["accuracy"][0] if row["utility"] else None,
                accuracy_before=before["utility"]["accuracy"][0],
            )
        )
    return found


def described(network: str) -> str:
    """A network of ``AFTER`` in words."""
    return f"a ResNet-18 that knew {network.rpartition('-')[2]} patients by heart (32 px)"


def points(rows: list[dict[str, Any]]) -> list[Point]:
    """Every row that has a utility."""
    return [
        Point(
            label=row["network"] if row["mitigation"] == NOTHING else row["mitigation"],
            group=row["network"] if row["network"].startswith("heart") else "in training",
            utility=row["utility"]["accuracy"][0],
            risk=row["auc"][0],
            linked=row["linkage_p"] <= 0.01,
        )
        for row in rows
        if row["utility"]
    ]


def parser() -> argparse.ArgumentParser:
    """The command line; ``action`` is what it asks for."""
    parser, running = run_and_table(__doc__, "mitigations.jsonl", run, write)
    running.add_argument("--only", nargs="+", default=[""], metavar="NETWORK-PREFIX")
    running.add_argument("--mitigations", nargs="+", choices=ORDER)
    running.add_argument("--steps", type=int, default=200)
    running.add_argument("--particles", type=int, nargs="+", default=[16])
    return parser


def main() -> None:
    carry_out(parser())


if __name__ == "__main__":
    main()
