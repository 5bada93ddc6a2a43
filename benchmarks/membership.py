"""Membership with reference models on really trained networks: what each score tells, with 0, 1, 2, 4, ... references.

    python -m benchmarks.membership run --data ../shared/data/nih_cxr14 --count 4 [--device cuda]
    python -m benchmarks.membership table --doc docs/membership.md

Films of the `target` split are in training, those of `holdout` are not; sex is the label. `heart`: minibatches without
augmentation until the films are known; `care`: augmentation, weight decay, early stop; `null`: the same as `heart` on
the `prior` split, so that neither cohort was in training. Networks and references are kept beside ``--out``, and a cell
that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.lab.data import SPEC
from benchmarks.lab.gradient_norms import gradient_norms
from benchmarks.lab.learned import NETWORKS, Network, taught_on, trained
from benchmarks.lab.pages import Row, publish
from benchmarks.lab.rows import measured, rows_of
from benchmarks.lab.targets import Bench
from benchmarks.lab.training import NotKnownByHeart
from reid_audit.arch.identify import identify
from reid_audit.attack.interface import AttackTask
from reid_audit.audit.allowance import unlimited
from reid_audit.audit.cohorts import Canaries, OpenedCohorts, planted_comparison
from reid_audit.audit.recognition import recognised_canaries, recognition
from reid_audit.audit.references import Beside, Referenced, lesson_of, references_of
from reid_audit.audit.request import AuditRequest
from reid_audit.budget import Meter, Pace, unhurried
from reid_audit.cohort import Cohort
from reid_audit.imaging.stack import Joined
from reid_audit.network.layers import matrix_layers
from reid_audit.observer import Event, Noted
from reid_audit.policy import policy_sha256
from reid_audit.records import Budget, Measured, Metric, Policy, References
from reid_audit.reference.lesson import PASS
from reid_audit.reference.shelf import Shelf
from reid_audit.reference.signals import signals
from reid_audit.score.calibration import Floats, auc, tpr_at
from reid_audit.score.membership.adjusted import CERTAIN, adjusted
from reid_audit.score.membership.learned import learned
from reid_audit.score.membership.lira import lira
from reid_audit.score.membership.loss_difference import loss_difference
from reid_audit.score.membership.neighbours import neighbours
from reid_audit.score.membership.rmia import rmia
from reid_audit.score.patients import Owners, evidence_by_patient

COUNTS = (0, 1, 2, 4, 8, 16)
SCORES = {"adjusted": adjusted, "LiRA": lira, "RMIA": rmia, "loss difference": loss_difference}
LEARNED = ("neighbours", "white box")
"""They need two references, one with a film and one without; neighbours also that the references gain by them."""
WHITE_BOX_RIDGE = 1e-2


def with_labels(cohort: Cohort) -> Cohort:
    """``cohort`` with the sex as the training label."""
    return replace(cohort, labels=cohort.sexes)


def cells(network: Network, bench: Bench, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each number of references."""
    place = torch.device(options.device)
    path = trained(network, bench, options.out.parent / "membership", place)
    target = identify(load_file(path), side=network.side, name=network.architecture)
    target.module.to(place).to(memory_format=torch.channels_last)
    space = bench.space.to(place)
    task = AttackTask(target, space, space, SPEC, Budget())
    members = bench.target if network.kind == "null" else taught_on(network, bench)
    holdout = with_labels(bench.holdout)
    cohorts = OpenedCohorts(with_labels(members), holdout, Canaries.choose(holdout, 8, network.seed))
    recipe = References(when="required", count=options.count, augmentation=options.augmentation)
    policy = Policy(references=recipe)
    request = AuditRequest(checkpoint=path, policy=policy, policy_sha256=policy_sha256(policy), seed=network.seed)
    began = time.process_time()
    pace = Pace(Meter(None, None), Said())
    inside = Inside(task, cohorts)
    known = references_of(
        task, cohorts, request, pace, Shelf(options.out.parent / "membership" / "shelf"), inside.of_reference
    )
    spent = time.process_time() - began
    for count in (c for c in COUNTS if c <= options.count):
        some = None if known is None or count == 0 else fewer(known, count)
        yield row_of(network, task, cohorts, bench, some, inside) | {
            "references": count,
            "recipe": options.augmentation,
            "device": options.device,
            "seconds": spent,
        }


def ends(found: Measured) -> list[float]:
    """Value and interval."""
    return [found.value, found.low or 0.0, found.high or 0.0]


class Said:
    """Prints what the audit notes."""

    def notice(self, event: Event) -> None:
        if isinstance(event, Noted):
            print(f"  {event.message}", flush=True)


def fewer(known: Referenced, count: int) -> Referenced:
    """The first ``count`` of the references."""
    models = known.models
    some = replace(models, inside=models.inside[:count], views=models.views[:count], epochs=models.epochs[:count])
    return replace(known, models=some)


def row_of(
    network: Network,
    task: AttackTask,
    cohorts: OpenedCohorts,
    bench: Bench,
    known: Referenced | None,
    inside: Inside,
) -> dict[str, Any]:
    """Membership of the films, and of planted patients, beside ``known`` references."""
    comparison = cohorts.comparison(bench.match)
    if comparison is None or cohorts.holdout is None or cohorts.canaries is None:
        raise ValueError("both cohorts are needed")
    beside = None if known is None else known.compared(cohorts)
    recognised = recognition(task, comparison, unlimited(), network.seed, beside)
    found = recognised.outcome
    canaries = cohorts.canaries
    taught = None if known is None else known.taught(canaries.films)
    among = planted_comparison(cohorts.holdout, canaries, bench.match)
    near = None if known is None else known.planted(canaries.films, canaries.others)
    controls = [
        recognised_canaries(
            replace(task, target=copy), among, unlimited(), seed=network.seed, corrected=True, beside=near
        )
        for copy in canaries.copies(task, cohorts.holdout, network.seed, unhurried(), taught)
    ]
    rank, tpr = (measured(found.measurements, metric) for metric in (Metric.MEMBERSHIP_AUC, Metric.MEMBERSHIP_TPR))
    return {
        "network": network.name,
        "scores": {} if beside is None else of_each_score(task, comparison.owners, beside, inside),
        "auc": [rank.value, rank.low, rank.high],
        "gap": ends(measured(recognised.measurements, Metric.GENERALISATION_GAP)),
        "tpr": [tpr.value, tpr.low, tpr.high],
        "families": {name: [a, t] for name, a, t in found.by_family},
        "over": over.model_dump() if (over := recognised.over_references) else None,
        "control": [found.value for found in controls if isinstance(found, Measured)],
    }


class Inside:
    """What networks show of the pooled films inside: log odds, and how far each film moves each layer."""

    def __init__(self, task: AttackTask, cohorts: OpenedCohorts) -> None:
        self.task = task
        self.cohorts = cohorts
        self.references: list[Floats] = []

    def of_reference(self, module: nn.Module) -> None:
        """Keep what the next reference shows."""
        self.references.append(self.of(module))

    def of(self, module: nn.Module) -> Floats:
        """[N, 1 + L] of all pooled films."""
        reference, holdout = self.cohorts.reference, self.cohorts.holdout
        if reference is None or holdout is None:
            raise ValueError("both cohorts are needed")
        images = Joined(reference.images, holdout.images)
        words = np.concatenate([reference.labels, holdout.labels])
        lesson, _ = lesson_of(self.task, images, words, unhurried())
        if lesson is None:
            raise ValueError("numbers have no log odds without labels")
        every = np.arange(len(images))
        odds = signals(module, lesson, every, unhurried(), "films", near=False, mirrored=False)[0]
        layers = matrix_layers(module, lesson.prepare(images[torch.arange(1)]))
        norms = []
        for rows in torch.split(torch.arange(len(images)), PASS):
            inputs = lesson.prepare(images[rows])
            norms.append(gradient_norms(module, lesson.kind, layers, inputs, lesson.wanted[rows].to(inputs.device)))
        return np.column_stack([np.clip(odds, -CERTAIN, CERTAIN), torch.cat(norms).double().cpu().numpy()])

    def score(self, beside: Beside) -> Floats | None:
        """The white-box score of the films compared, with as many references as ``beside`` has."""
        rows = beside.rows
        references = np.stack(self.references[: beside.models.count])[:, rows]
        own, inside = self.of(self.task.target.module)[rows], beside.models.inside[:, rows]
        return learned(own, references, inside, ridge=WHITE_BOX_RIDGE)


def of_each_score(task: AttackTask, owners: Owners, beside: Beside, inside: Inside) -> dict[str, list[float]]:
    """AUC and TPR at 1 % FPR of every score against references, joined over films as the verdict's is."""
    seen, people = beside.observed(task.target.module, unhurried()), np.unique(owners.patients)
    member = np.isin(people, owners.patients[owners.is_member])
    films: dict[str, Floats | None] = {name: score(seen) for name, score in SCORES.items()}
    films |= {"neighbours": neighbours(seen), "white box": inside.score(beside)}
    found = {}
    for name, each in films.items():
        if each is None:
            continue
        values = evidence_by_patient(each, owners.patients, people)
        found[name] = [auc(values[member], values[~member]), tpr_at(values[member], values[~member])]
    return found


def run(options: argparse.Namespace) -> None:
    benches: dict[int, Bench] = {}
    done = {(row["network"], row["recipe"]) for row in rows_of(options.out) if row["references"] == options.count}
    for network in NETWORKS:
        if (network.name, options.augmentation) in done or not network.name.startswith(tuple(options.only)):
            continue
        if network.side not in benches:
            benches[network.side] = Bench.at(options.data, network.side)
        print(network.name, flush=True)
        try:
            rows = list(cells(network, benches[network.side], options))
        except NotKnownByHeart as refusal:
            print(f"  {refusal}", flush=True)
            continue
        for row in rows:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"  {row}", flush=True)


HEAD = (
    *("network", "K", "recipe", "gap", "AUC", "TPR at 1 % FPR", *SCORES),
    *("families of the verdict", "control"),
)


def shown(estimate: list[float]) -> str:
    value, low, high = estimate
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def line(row: dict[str, Any]) -> Row:
    families = "; ".join(f"{name} {a:.2f}, {t:.3f}" for name, (a, t) in row["families"].items())
    control = ", ".join(f"{found:.2f}" for found in row["control"])
    tpr = row["tpr"]
    rate = f"{tpr[0]:.3f} [{tpr[1]:.3f}, {tpr[2]:.3f}]"
    recipe = row["recipe"] if row["references"] else "–"
    name, count, gap = row["network"], str(row["references"]), shown(row["gap"])
    return (name, count, recipe, gap, shown(row["auc"]), rate, *scores_of(row, SCORES), families, control)


def write(options: argparse.Namespace) -> None:
    rows = list(rows_of(options.out))
    publish(HEAD, [line(row) for row in rows], options.doc, keys=3)
    compared = ("adjusted", *LEARNED)
    able = [row for row in rows if LEARNED[-1] in row["scores"]]
    cells = [(row["network"], str(row["references"]), *scores_of(row, compared)) for row in able]
    publish(("network", "K", *compared), cells, options.doc, keys=2, mark="learned")
    spread = [(row["network"], str(row["references"]), *fifths(row["over"])) for row in rows if row.get("over")]
    publish(("network", "K", *FIFTHS), spread, options.doc, keys=2, mark="over")


FIFTHS = tuple(f"{20 * fifth} to {20 * fifth + 20} % of pairs" for fifth in range(5))


def fifths(over: dict[str, Any]) -> tuple[str, ...]:
    """Patients in each, and in brackets how many there would be were all alike."""
    return tuple(f"{seen} ({usual:.0f})" for seen, usual in zip(over["counts"], over["alike"], strict=True))


def scores_of(row: dict[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """AUC and TPR of each; a dash where it says nothing of its own."""
    found = map(row["scores"].get, names)
    return tuple("–" if each is None else f"{each[0]:.2f}, {each[1]:.3f}" for each in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/membership.jsonl"))
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--count", type=int, default=4)
    running.add_argument("--device", default="cpu")
    running.add_argument("--augmentation", choices=("auto", "none", "moved"), default="auto")
    running.add_argument("--only", nargs="+", default=[""], metavar="NETWORK-PREFIX")
    action(running, run)
    writing = commands.add_parser("table")
    writing.add_argument("--doc", type=Path)
    action(writing, write)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.action(options)


def action(parser: argparse.ArgumentParser, does: Callable[[argparse.Namespace], None]) -> None:
    parser.set_defaults(action=does)


if __name__ == "__main__":
    main()
