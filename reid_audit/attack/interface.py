"""One seam for all attacks: a target, a prior and a budget in; images out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import Meter
from reid_audit.observer import Observer
from reid_audit.preprocess import to_network
from reid_audit.prior.gaussian import GaussianPrior
from reid_audit.prior.interface import Prior
from reid_audit.records import Budget, PreprocessSpec, Spend


@dataclass(frozen=True, slots=True, eq=False)
class AttackTask:
    """Everything an attacker starts from. All tensors are on one device."""

    target: Target
    prior: Prior
    """What images of this kind look like: the generator of two-stage and latent, the null of the negative control."""
    space: GaussianPrior
    """Full-rank Gaussian in which the refinement runs; the same object as ``prior`` where that is Gaussian."""
    preprocess: PreprocessSpec
    budget: Budget

    def inputs(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] as the network sees them. Differentiable."""
        return to_network(images, self.preprocess, self.target.match.channels)


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """What an attack produced. Frozen and hashed before any training or hold-out image is opened."""

    images: Tensor
    """[N, C, H, W] in [0, 1], CPU, best first within each hypothesis."""
    energies: Tensor
    """[N] per-image energy under the target (lower: more likely), comparable between arms on one target."""
    hypotheses: Tensor
    """[N] int64: which batch-size hypothesis (particles) made each image."""
    tuned_samples: Tensor | None
    """[M, C, H, W] samples of the tuned generator (two-stage), for the distribution metrics."""
    energy_start: float
    energy_end: float
    trajectory: tuple[tuple[int, float], ...]
    """(step, batch energy), thinned to at most 200 points."""
    spend: Spend
    digest: str
    """SHA-256 of the images."""


class Attack(Protocol):
    """A reconstruction method."""

    def __call__(
        self, task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer
    ) -> Reconstruction: ...
