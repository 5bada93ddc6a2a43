"""One seam for all attacks: a target, a prior and a budget in; images out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import Meter
from reid_audit.observer import Observer
from reid_audit.prior.interface import Prior
from reid_audit.records import Budget, PreprocessSpec, Spend


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
        self,
        target: Target,
        prior: Prior,
        *,
        preprocess: PreprocessSpec,
        budget: Budget,
        generator: torch.Generator,
        meter: Meter,
        observer: Observer,
    ) -> Reconstruction: ...
