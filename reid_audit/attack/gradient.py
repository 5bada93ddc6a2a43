"""`gradient`: images whose joint gradient is the way from a public base to the audited weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reid_audit.attack.difference import Displacement, displacement
from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.moments import from_noise
from reid_audit.attack.objectives import logits_of
from reid_audit.attack.refinement import RefineSettings, hypothesis_groups
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError
from reid_audit.observer import Observer

PRECISION = 1e4
"""Energy of a batch whose gradient is orthogonal to the displacement."""


@dataclass(frozen=True, slots=True, eq=False)
class DifferenceObjective:
    """1 - cosine between a batch's summed gradient and the displacement (Geiping et al. 2020, eq. 4)."""

    path: Displacement
    groups: Tensor
    """[N] int64: which batch each image belongs to."""
    labels: Tensor
    """[N] int64 class each particle stands for."""

    def energy(self, inputs: Tensor) -> Tensor:
        terms = []
        for group in range(int(self.groups.max()) + 1):
            mine = self.groups == group
            joint = self.path.gradients(inputs[mine], self.labels[mine], differentiable=True)
            terms.append(1.0 - self.path.alignment(joint))
        return PRECISION * torch.stack(terms)

    def image_energy(self, inputs: Tensor) -> Tensor:
        """[N] 1 - cosine of every image alone, with the label it explains better."""
        with torch.no_grad():
            classes = max(2, logits_of(self.path.module(inputs[:1])).shape[1])
        best = torch.full((len(inputs),), 2.0, device=inputs.device)
        for row, image in enumerate(torch.split(inputs, 1)):
            for label in range(min(classes, 8)):
                joint = self.path.gradients(image, torch.tensor([label], device=inputs.device))
                best[row] = torch.minimum(best[row], 1.0 - self.path.alignment(joint))
        return best


def gradient(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> Reconstruction:
    """Reconstruct in the full-rank space; [sum(particles), C, H, W] images. Raises ArchitectureError without a base."""
    if task.base is None:
        raise ArchitectureError(
            "the gradient method compares the checkpoint with the weights it was fine-tuned from",
            closest="no base was given",
            remedy="give the public weights with --base FILE, or use --method moments",
        )
    groups = hypothesis_groups(task.budget.particles).to(task.space.mean.device)
    with torch.no_grad():
        classes = logits_of(task.target.module(task.inputs(task.space.mean[None]))).shape[1]
    labels = torch.arange(len(groups), device=groups.device) % max(2, classes)
    objective = DifferenceObjective(displacement(task.target, task.base), groups, labels)
    return from_noise(
        task,
        objective,
        generator=generator,
        meter=meter,
        observer=observer,
        stage="gradient",
        settings=RefineSettings(),
    )
