"""What all attacks have in common: they are given a network, a prior and a budget, and they return images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.attack.metric import LayerMetric
from reid_audit.budget import Meter
from reid_audit.observer import Observer
from reid_audit.preprocess import to_network
from reid_audit.prior.gaussian import GaussianPrior
from reid_audit.prior.interface import Prior
from reid_audit.records import Budget, PreprocessSpec, Spend

SAMPLES = 2048
"""Images of the prior that a metric is measured on; 512 are too few (docs/tuning.md)."""


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
    base: Target | None = None
    """The network before fine-tuning, where its weights were given."""
    metrics: tuple[LayerMetric, ...] | None = None
    """The metric of the target's statistics, where it has been measured already (likelihood.with_metrics)."""
    samples: int = SAMPLES
    """How many images of the prior a metric is measured on."""

    def inputs(self, images: Tensor) -> Tensor:
        """Network input [N, C', H, W] made of images [N, C, H, W] in [0, 1]. It is differentiable."""
        return to_network(images, self.preprocess, self.target.match.channels)


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """What an attack produced, frozen and hashed before any training or hold-out image is opened."""

    images: Tensor
    """[N, C, H, W] in [0, 1], CPU, best first within each hypothesis."""
    energies: Tensor
    """[N] per-image energy under the target (lower: more likely), comparable between runs on one target."""
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
    embeddings: Tensor | None = None
    """[N, D] what a head on a frozen encoder was found to remember, one for each image; None: not asked."""

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors and the plain values that the run directory keeps."""
        tensors = {"images": self.images, "energies": self.energies, "hypotheses": self.hypotheses}
        if self.tuned_samples is not None:
            tensors["tuned_samples"] = self.tuned_samples
        if self.embeddings is not None:
            tensors["embeddings"] = self.embeddings
        values = {
            "energy_start": self.energy_start,
            "energy_end": self.energy_end,
            "trajectory": self.trajectory,
            "spend": self.spend.model_dump(mode="json"),
            "digest": self.digest,
        }
        return tensors, values

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Reconstruction:
        """The reconstruction of which ``to_state`` gave these tensors and values."""
        return cls(
            images=tensors["images"],
            energies=tensors["energies"],
            hypotheses=tensors["hypotheses"],
            tuned_samples=tensors.get("tuned_samples"),
            energy_start=float(values["energy_start"]),
            energy_end=float(values["energy_end"]),
            trajectory=tuple((int(step), float(energy)) for step, energy in values["trajectory"]),
            spend=Spend.model_validate(values["spend"]),
            digest=str(values["digest"]),
            embeddings=tensors.get("embeddings"),
        )


class Attack(Protocol):
    """A reconstruction method. ``generator`` draws its start, ``meter`` ends it, ``observer`` hears of its steps."""

    def __call__(
        self, task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer
    ) -> Reconstruction: ...
