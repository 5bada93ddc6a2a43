"""`gradient`: images whose joint gradient is the way from a public base to the audited weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reid_audit.attack.difference import Displacement, displacement
from reid_audit.attack.heads import answers, labels_of, logits_of, meaning
from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.moments import from_noise
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
    """[N] int64 label each particle stands for (heads.py)."""
    width: int
    """Outputs of the network."""

    def energy(self, inputs: Tensor, mixture: Tensor | None = None) -> Tensor:
        terms = []
        for group in range(int(self.groups.max()) + 1):
            mine = self.groups == group
            joint = self.path.gradients(inputs[mine], answers(self.labels[mine], self.width), differentiable=True)
            terms.append(1.0 - self.path.alignment(joint))
        return PRECISION * torch.stack(terms)

    def image_energy(self, inputs: Tensor) -> Tensor:
        """[N] 1 - cosine of every image alone, with the label it explains better."""
        best = torch.full((len(inputs),), 2.0, device=inputs.device)
        for row, image in enumerate(torch.split(inputs, 1)):
            for label in range(min(labels_of(meaning(self.path.head, self.width), self.width), 8)):
                wanted = answers(torch.tensor([label], device=inputs.device), self.width)
                joint = self.path.gradients(image, wanted)
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
    if not labels_of(task.target.match.head, 1):
        raise ArchitectureError(
            "the gradient method needs a head with classes, or with yes/no answers",
            closest=f"a {task.target.match.head} head, whose labels cannot be guessed",
            remedy="use --method moments, or state what the outputs mean with --head",
        )
    groups = hypothesis_groups(task.budget.particles).to(task.space.mean.device)
    with torch.no_grad():
        width = logits_of(task.target.module(task.inputs(task.space.mean[None]))).shape[1]
    kind = meaning(task.target.match.head, width)
    labels = torch.arange(len(groups), device=groups.device) % labels_of(kind, width)
    objective = DifferenceObjective(displacement(task.target, task.base), groups, labels, width)
    return from_noise(
        task,
        objective,
        generator=generator,
        meter=meter,
        observer=observer,
        stage="gradient",
        settings=RefineSettings(),
    )
