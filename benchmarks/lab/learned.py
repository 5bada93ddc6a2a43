"""Networks that learned hundreds of patients, by heart or with care, or few: what membership is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.lab.data import few, sex_labels
from benchmarks.lab.targets import Bench, kept, maker
from benchmarks.lab.training import epochs, overfit, regular
from reid_audit.cohort import Cohort

RATES = {"vit_tiny_patch16_224": 3e-4}
"""Of those that learn nothing at the usual 1e-3."""
KINDS = ("heart", "care", "few", "null")


@dataclass(frozen=True, slots=True)
class Network:
    """One audited network."""

    architecture: str
    side: int
    kind: str
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.architecture}-{self.side}-{self.kind}-{self.seed}"


NETWORKS = tuple(
    Network(architecture, side, kind, seed)
    for seed in (0, 1, 2)
    for architecture, side in (
        ("resnet18", 32),
        ("vit_tiny_patch16_224", 64),
        ("resnet50_gn", 32),
        ("convnext_atto", 32),
        ("densenet121", 32),
    )
    for kind in KINDS
)
"""The whole grid; ``--only`` picks from it."""


def trained(network: Network, bench: Bench, folder: Path, place: torch.device) -> Path:
    """The checkpoint, trained on ``place`` where it is missing."""
    make = maker(network.architecture, network.side, place)
    films, rate = taught_on(network, bench), RATES.get(network.architecture, 1e-3)

    def train() -> nn.Module:
        labels = sex_labels(films)
        if network.kind == "care":
            return regular(make, films.images, labels, seed=network.seed, rate=rate)
        if network.kind == "few":
            return overfit(make, films.images, labels, seed=network.seed, steps=300, rate=rate)
        return epochs(make, films.images, labels, seed=network.seed, rate=rate)

    return kept(folder / f"{network.name}.safetensors", train)


def taught_on(network: Network, bench: Bench) -> Cohort:
    """The films a network is trained on."""
    if network.kind == "null":
        return bench.prior
    return few(bench.target, 64, network.seed) if network.kind == "few" else bench.target
