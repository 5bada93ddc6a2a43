"""What membership tells of networks that give findings or numbers, and of encoders, with labels and without them.

    python -m benchmarks.heads --data ../shared/data/nih_cxr14 --doc docs/membership.md

A ResNet-18 that learned the findings of the films (14, several at once), and a MobileNetV2 that learned the age, at 64
pixels, by heart or with care, are asked as an audit asks them: with nothing said of the head, with `--head`, with
`--label` too, and without their head. Membership is scored by patient and without reference models. Networks are
trained once and kept in ``--out``; some minutes of a core for each.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.lab.pages import Row, publish
from benchmarks.lab.targets import kept
from benchmarks.lab.training import augmented
from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.audit.preprocessing import Chosen, Specimens
from reid_audit.audit.setup import answered_head
from reid_audit.cohort import Cohort, Frame, Source, load_cohort
from reid_audit.network.answers import findings_of
from reid_audit.network.reading import Inputs
from reid_audit.preprocess import IMAGENET, to_network
from reid_audit.records import Measured, Metric, find
from reid_audit.score.membership.families import membership_scores
from reid_audit.score.membership.generalisation import generalisation_gap
from reid_audit.score.membership.inference import membership
from reid_audit.score.patients import Owners

SIDE, BATCH = 64, 32
NO_FINDING = "No Finding"
Recipe = Literal["heart", "care"]
Role = Literal["reference", "holdout"]
EPOCHS: dict[Recipe, int] = {"heart": 30, "care": 8}
HEAD = ("network", "asked as", "families (AUC)", "membership AUC", "TPR at 1 % FPR", "generalisation gap")


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What a network learned."""

    name: str
    make: Callable[[int], nn.Module]
    column: str
    """Of the manifest."""
    head: Literal["sigmoid", "regression"]
    last: str
    """Prefix of the head's keys."""

    def wanted(self, words: NDArray[np.str_]) -> Tensor:
        """[N, K] what the films [N] are labelled."""
        if self.head == "regression":
            return torch.from_numpy(words.astype(np.float32))[:, None] / 100
        known = sorted(frozenset().union(*map(findings_of, words)) - {NO_FINDING})
        return torch.tensor([[float(finding in findings_of(word)) for finding in known] for word in words])


TASKS = (
    Task("findings", lambda k: torchvision.models.resnet18(num_classes=k), "label", "sigmoid", "fc."),
    Task("age", lambda k: torchvision.models.mobilenet_v2(num_classes=k), "age", "regression", "classifier."),
)


def trained(task: Task, recipe: Recipe, films: Cohort) -> nn.Module:
    """AdamW in minibatches with one cycle of the rate; with care also moved films, weight decay and an early end."""
    torch.manual_seed(0)
    wanted = task.wanted(films.labels)
    module = task.make(wanted.shape[1]).train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.05 if recipe == "care" else 0.0)
    steps = EPOCHS[recipe] * (len(wanted) // BATCH)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS[recipe]):
        order = torch.randperm(len(wanted), generator=generator)
        for rows in torch.split(order, BATCH)[: len(wanted) // BATCH]:
            images = films.images[rows]
            seen = augmented(images, generator) if recipe == "care" else images
            outputs = module(to_network(seen, IMAGENET, 3))
            fit = functional.mse_loss if task.head == "regression" else functional.binary_cross_entropy_with_logits
            optimiser.zero_grad()
            torch.autograd.backward(fit(outputs, wanted[rows]))
            optimiser.step()
            plan.step()
    return module.eval()


def ways(task: Task, state: dict[str, Tensor], images: Tensor) -> Iterator[tuple[str, Target, bool]]:
    """(what is said, the network asked so, whether it is asked beside labels)."""
    whole = identify(state, side=SIDE)
    stated = replace(whole, match=whole.match.model_copy(update={"head": task.head}))
    chosen = Chosen(IMAGENET.model_copy(update={"side": SIDE}), "policy", None)
    yield "nothing said", replace(whole, match=answered_head(whole, chosen, Specimens(fixed=images))), False
    yield f"--head {task.head}", stated, False
    yield f"--head {task.head} --label {task.column}", stated, True
    headless = {name: value for name, value in state.items() if not name.startswith(task.last)}
    yield "without its head", identify(headless, side=SIDE), False


def asked(target: Target, members: Cohort, others: Cohort, *, labelled: bool) -> Row:
    """What membership says, without the name of the network."""
    images = torch.cat([members.images, others.images])
    words = np.concatenate([members.labels, others.labels])
    patients = np.concatenate([members.patients, others.patients])
    owners = Owners(patients, np.arange(len(images)) < len(members.images))
    inputs = Inputs(images, lambda few: to_network(few, IMAGENET, target.match.channels))
    scores = membership_scores(target, inputs, words if labelled else np.full(len(words), ""))
    found = membership(scores.scores, owners, np.random.default_rng(0))
    gap = generalisation_gap(scores.right, owners, np.random.default_rng(0))
    families = "; ".join(f"{name} {area:.2f}" for name, area, _ in found.by_family)
    auc, rate = (find(found.measurements, metric) for metric in (Metric.MEMBERSHIP_AUC, Metric.MEMBERSHIP_TPR))
    return families, *(
        f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]" if isinstance(m, Measured) else "-" for m in (auc, rate, gap)
    )


def with_columns(data: Path, folder: Path) -> tuple[Path, str]:
    """The manifest with a column for each finding as CheXpert writes them, and the columns: 1.0, else blank."""
    with (data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    known = sorted(frozenset().union(*(findings_of(row["label"]) for row in rows)) - {NO_FINDING})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "columns.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "patient_id", "split", *known))
        for row in rows:
            marks = ["1.0" if finding in findings_of(row["label"]) else "" for finding in known]
            table.writerow((data.resolve() / row["path"], row["patient_id"], row["split"], *marks))
    return path, ",".join(known)


def rows_of(task: Task, data: Path, folder: Path) -> Iterator[Row]:
    """A row for each recipe and way of asking; findings are given in one cell and in columns of their own."""

    def films(split: str, role: Role, data: Path = data, label: str = task.column) -> Cohort:
        return load_cohort(Source(data, {"split": split}, label=label), Frame(IMAGENET, SIDE), role)

    members, others = films("target", "reference"), films("holdout", "holdout")
    for recipe in EPOCHS:
        name = f"{task.name}-{SIDE}-{recipe}"
        path = kept(folder / f"{name}.safetensors", partial(trained, task, recipe, members))
        for said, target, labelled in ways(task, load_file(path), torch.cat([members.images, others.images])):
            yield name, said, *asked(target, members, others, labelled=labelled)
            if labelled and task.head == "sigmoid":
                apart = with_columns(data, folder)
                cohorts = films("target", "reference", *apart), films("holdout", "holdout", *apart)
                yield (
                    name,
                    f"--head sigmoid --label, {apart[1].count(',') + 1} columns",
                    *asked(target, *cohorts, labelled=True),
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/heads"))
    parser.add_argument("--task", choices=[task.name for task in TASKS], help="one of them alone")
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    tasks = [task for task in TASKS if options.task in (None, task.name)]
    rows = [row for task in tasks for row in rows_of(task, options.data, options.out)]
    publish(HEAD, rows, options.doc, keys=2, mark="heads")


if __name__ == "__main__":
    main()
