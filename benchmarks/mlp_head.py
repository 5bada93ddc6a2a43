"""What the weights of a small head on a frozen encoder give away of the films that trained it (Oz et al. 2024).

    python -m benchmarks.mlp_head --data ../shared/data/nih_cxr14 --encoder encoder.safetensors [--page docs/attack.md]

The encoder is trained on the public films of the split ``prior`` where its file is not there yet (10 minutes on one
core at 32 px) and then frozen. Heads learn the sex from embeddings of the split ``target``, in three ways; embeddings
are rebuilt from each head and linked with the patients who trained it among half of the hold-out patients. Beside each
stands a head of the same kind that learned from the other half: it must link nobody.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.lab.contrastive import backbone, embedding_network
from benchmarks.lab.data import SPEC, sex_labels, splits
from benchmarks.lab.pages import Row, publish
from reid_audit.attack.embeddings import Directions, MlpHead, rebuilt
from reid_audit.cohort import Cohort
from reid_audit.preprocess import to_network
from reid_audit.records import Measured, Metric
from reid_audit.score.linkage import LinkageOutcome, link
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import MatchSpace, fit_match_space, without_hubs

SIDE, EPOCHS, WIDTH, STEPS, MOST = 32, 24, 256, 500, 64
"""Pixels; epochs of the encoder; hidden width of the heads; steps of the attack; embeddings it rebuilds at most."""
HEAD = (
    "head", "patients", "seed", "accuracy", "cross-entropy", "unexplained", "AUC", "p", "re-identified",
    "rank 1", "by chance", "p, other head",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """One film of each patient of a split."""

    values: Tensor
    """[N, D] embeddings, in standard deviations of the public ones."""
    labels: Tensor
    """[N] sex."""

    def some(self, count: int, seed: int) -> Embedded:
        """``count`` patients, as many of either sex."""
        draw = torch.Generator().manual_seed(seed)
        rows = [torch.nonzero(self.labels == sex).flatten() for sex in (0, 1)]
        kept = torch.cat([each[torch.randperm(len(each), generator=draw)[: count // 2]] for each in rows])
        return Embedded(self.values[kept], self.labels[kept])


def paper(head: nn.Sequential, films: Embedded, draw: torch.Generator) -> None:
    """As in the paper: a small first draw, weight decay, thousands of full-batch steps."""
    nn.init.normal_(head[0].weight, std=1e-4)  # type: ignore[arg-type]
    nn.init.zeros_(head[0].bias)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(5000):
        decay = sum((value.square().sum() for value in head.parameters()), torch.zeros(()))
        step(optimiser, functional.cross_entropy(head(films.values), films.labels) + 5e-4 * decay)


def by_heart(head: nn.Sequential, films: Embedded, draw: torch.Generator) -> None:
    """From torch's own draw, without decay, until nothing is left to learn."""
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(1500):
        step(optimiser, functional.cross_entropy(head(films.values), films.labels))


def usual(head: nn.Sequential, films: Embedded, draw: torch.Generator) -> None:
    """What a team would do: AdamW, batches of 32, ten epochs."""
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.01)
    for _ in range(10):
        for rows in torch.split(torch.randperm(len(films.labels), generator=draw), 32):
            step(optimiser, functional.cross_entropy(head(films.values[rows]), films.labels[rows]))


def step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down ``loss``."""
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()


RECIPES: dict[str, Callable[[nn.Sequential, Embedded, torch.Generator], None]] = {
    "as in the paper": paper,
    "by heart": by_heart,
    "as usual": usual,
}
CELLS = (
    *(("as in the paper", count) for count in (8, 16, 32)),
    *(("by heart", count) for count in (8, 16, 32, 64)),
    *(("as usual", count) for count in (64, 350)),
)


def trained(name: str, films: Embedded, seed: int) -> nn.Sequential:
    """A head of two layers that learned the sex of ``films``."""
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Linear(films.values.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    RECIPES[name](head, films, torch.Generator().manual_seed(seed))
    return head.requires_grad_(False)


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Whom embeddings are linked with."""

    embedded: Tensor
    """[N, D] those of the patients who trained the head first."""
    members: int
    space: MatchSpace

    def linked(self, head: nn.Sequential, directions: Directions, seed: int) -> tuple[LinkageOutcome, float]:
        """The linkage of what is rebuilt from ``head``, and what that leaves unexplained."""
        layers = MlpHead(head[0], head[2], "softmax")  # type: ignore[arg-type]
        count = min(2 * self.members, MOST)
        found = rebuilt(layers, directions, count, STEPS, torch.Generator().manual_seed(seed))
        near = self.space.embed(as_images(found.embedded)) @ self.space.embed(as_images(self.embedded)).T
        number = np.arange(len(self.embedded))
        owners = Owners(number.astype(np.str_), number < self.members)
        scores = without_hubs(near).double().numpy()
        return link(scores, owners, np.random.default_rng(seed), permutations=1999), found.unexplained


def as_images(embedded: Tensor) -> Tensor:
    """[N, D, 1, 1] of [N, D]: the space of comparison takes images."""
    return embedded[:, :, None, None]


def row(name: str, count: int, seed: int, splits_: tuple[Embedded, Embedded, Embedded]) -> Row:
    """One row of the table."""
    target, holdout, public = splits_
    films, half = target.some(count, seed), len(holdout.values) // 2
    strangers = Embedded(holdout.values[:half], holdout.labels[:half]).some(min(count, half - half % 2), seed)
    head, other = trained(name, films, seed), trained(name, strangers, seed)
    gallery = Gallery(
        torch.cat([films.values, holdout.values[half:]]), len(films.values), fit_match_space(as_images(public.values))
    )
    directions = Directions.of(public.values)
    found, left = gallery.linked(head, directions, seed)
    null, _ = gallery.linked(other, directions, seed)
    answers = head(films.values)
    shown = {m.metric: m for m in found.measurements if isinstance(m, Measured)}
    rate = shown[Metric.IDENTIFICATION_RATE]
    return (
        name, str(len(films.values)), str(seed), f"{float((answers.argmax(1) == films.labels).float().mean()):.2f}",
        f"{float(functional.cross_entropy(answers, films.labels)):.1g}", f"{left:.2f}", f"{found.auc:.2f}",
        f"{found.p:.4f}", f"{int(shown[Metric.REIDENTIFIED_PATIENTS].value)}", f"{rate.value:.2f}",
        f"{rate.control:.2f}", f"{null.p:.3f}",
    )  # fmt: skip


def embedded(cohort: Cohort, network: nn.Module) -> Embedded:
    """The first film of each patient."""
    _, first = np.unique(cohort.patient_index(), return_index=True)
    rows = torch.from_numpy(np.sort(first))
    with torch.no_grad():
        parts = [network(to_network(part, SPEC, 3)) for part in torch.split(cohort.images[rows], 64)]
    return Embedded(torch.cat(parts), sex_labels(cohort)[rows])


def encoder(file: Path, public: Cohort) -> nn.Module:
    """The network in ``file``, trained on ``public`` where there is none."""
    if not file.is_file():
        made = embedding_network(public, epochs=EPOCHS, seed=0)
        save_file({name: value.contiguous() for name, value in made.state_dict().items()}, file)
    network = backbone()
    network.load_state_dict(load_file(file))
    return network.eval()


def main() -> None:
    """Print or publish the table."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--encoder", type=Path, required=True)
    asked.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    asked.add_argument("--page", type=Path)
    given = asked.parse_args()
    cohorts = splits(given.data, SIDE)
    network = encoder(given.encoder, cohorts[2])
    target, holdout, public = (embedded(cohort, network) for cohort in cohorts)
    mean, spread = public.values.mean(dim=0), public.values.std()
    every = tuple(Embedded((each.values - mean) / spread, each.labels) for each in (target, holdout, public))
    rows = []
    for name, count in CELLS:
        for seed in given.seeds:
            rows.append(row(name, count, seed, every))  # type: ignore[arg-type]
            print(" | ".join(rows[-1]), flush=True)
    publish(HEAD, rows, given.page, keys=3, mark="heads")


if __name__ == "__main__":
    main()
