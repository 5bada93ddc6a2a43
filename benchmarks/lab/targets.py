"""Networks to attack, really trained on films, and what is fitted beside them; made once and kept as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.lab.data import few, sex_labels, splits
from benchmarks.lab.training import epochs, finetuned, overfit, regular
from reid_audit.artefacts.provenance import Declaration
from reid_audit.cohort import Cohort
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.score.similarity import MatchSpace, fit_match_space

ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda _: torchvision.models.resnet18(num_classes=2),
    "resnet50": lambda _: torchvision.models.resnet50(num_classes=2),
    "densenet121": lambda _: torchvision.models.densenet121(num_classes=2),
    "convnext_atto": lambda _: timm.create_model("convnext_atto", num_classes=2),
    "resnet50_gn": lambda _: timm.create_model("resnet50_gn", num_classes=2),
    "vit_tiny_patch16_224": lambda side: timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=side),
}
"""Untrained networks for a side in pixels."""
CPU = torch.device("cpu")
OVERFIT_STEPS = {"vit_tiny_patch16_224": 300}
"""Where 150 steps do not learn the films by heart."""


@dataclass(frozen=True, slots=True)
class Target:
    """One network to attack."""

    architecture: str
    side: int
    members: int
    """Patients with one film each; 0: every film of the split."""
    seed: int
    base: bool = False
    """Fine-tuned from a network that learned another label on the films of the prior."""
    epochs: bool = False
    """Minibatches without augmentation until the films are known by heart."""

    @property
    def name(self) -> str:
        kind = "finetuned" if self.base else "epochs" if self.epochs else "overfit" if self.members else "regular"
        size = [str(self.members)] if self.members else []
        return "-".join([self.architecture, str(self.side), kind, *size, str(self.seed)])

    @property
    def base_name(self) -> str:
        return f"{self.architecture}-{self.side}-base-0"


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """The films at one side, and what is fitted on the prior's."""

    target: Cohort
    holdout: Cohort
    prior: Cohort
    space: GaussianPrior
    match: MatchSpace

    @classmethod
    def at(cls, data: Path, side: int) -> Bench:
        return cls.of(*splits(data, side))

    @classmethod
    def of(cls, target: Cohort, holdout: Cohort, prior: Cohort) -> Bench:
        """The prior and the space of comparison are fitted on ``prior``."""
        declared = Declaration("nih-cxr14-prior", ("NIH ChestX-ray14, split prior",))
        space = fit_gaussian(prior.images, declared, torch.Generator().manual_seed(0))
        return cls(target, holdout, prior, space, fit_match_space(prior.images))

    def members(self, target: Target) -> Cohort:
        return few(self.target, target.members, target.seed) if target.members else self.target


def maker(architecture: str, side: int, place: torch.device = CPU) -> Callable[[], nn.Module]:
    """What makes an untrained network on ``place``."""
    return lambda: ARCHITECTURES[architecture](side).to(place)


def weights_of(target: Target, bench: Bench, folder: Path, place: torch.device = CPU) -> Path:
    """The checkpoint, trained on ``place`` where it is missing."""

    def train() -> nn.Module:
        films = bench.members(target)
        make, labels = maker(target.architecture, target.side, place), sex_labels(films)
        if target.base:
            start = make()
            start.load_state_dict(load_file(base_of(target, bench, folder, place)))
            if not target.members:
                return regular(lambda: start, films.images, labels, seed=target.seed, rate=3e-4)
            return finetuned(start, films.images, labels)
        by_heart = partial(overfit, steps=OVERFIT_STEPS.get(target.architecture, 150))
        recipe = epochs if target.epochs else by_heart if target.members else regular
        return recipe(make, films.images, labels, seed=target.seed)

    return kept(folder / f"{target.name}.safetensors", train)


def base_of(target: Target, bench: Bench, folder: Path, place: torch.device = CPU) -> Path:
    """The network before fine-tuning: trained with care to tell the older half of the prior's films."""

    def train() -> nn.Module:
        older = torch.from_numpy((bench.prior.ages >= np.nanmedian(bench.prior.ages)).astype(np.int64))
        return regular(maker(target.architecture, target.side, place), bench.prior.images, older, seed=0)

    return kept(folder / f"{target.base_name}.safetensors", train)


def kept(path: Path, train: Callable[[], nn.Module]) -> Path:
    """``path``, trained and saved where it is missing."""
    if not path.exists():
        module = train()
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), path)
    return path
