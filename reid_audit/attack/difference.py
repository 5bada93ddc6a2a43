"""Weight difference to a public base: fine-tuning moved the weights along the summed gradients of the training images.

For a few steps from a known base, theta_base - theta is close to the gradient of the training loss summed over the
images (a gradient leak: Zhu et al. 2019, Geiping et al. 2020); many steps bend the path, so gradients are taken at its
midpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from reid_audit.arch.target import Target
from reid_audit.attack.heads import HeadKind, decisions, logits_of, meaning, summed_loss
from reid_audit.errors import ArchitectureError

LEAST_SHARED = 0.5
"""Share of the target's parameter tensors that the base must have under the same name and shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Displacement:
    """How far fine-tuning moved each parameter, and the network half-way."""

    module: nn.Module
    head: HeadKind
    middle: dict[str, Tensor]
    """Every parameter of the network at the midpoint of the path (those the base lacks: as the target has them)."""
    moved: dict[str, Tensor]
    """theta_base - theta of the parameters both have: the direction of the summed gradients."""

    def gradients(self, inputs: Tensor, wanted: Tensor, *, differentiable: bool = False) -> dict[str, Tensor]:
        """Gradient of the summed loss of ``inputs`` [N, C, H, W] with answers ``wanted`` [N, K] at the midpoint."""
        leaves = {name: value.detach().requires_grad_(name in self.moved) for name, value in self.middle.items()}
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            logits = logits_of(functional_call(self.module, leaves, (inputs,)))
        loss, moving = (
            summed_loss(meaning(self.head, logits.shape[1]), logits, wanted),
            [leaves[name] for name in self.moved],
        )
        found = torch.autograd.grad(loss, moving, create_graph=differentiable, allow_unused=True)
        return {name: g for name, g in zip(self.moved, found, strict=True) if g is not None}

    def alignment(self, gradients: dict[str, Tensor]) -> Tensor:
        """Cosine between the gradients and the displacement, all parameters as one vector; scalar in [-1, 1]."""
        dot = torch.stack([(gradients[name] * self.moved[name]).sum() for name in gradients]).sum()
        norms = [
            torch.stack([part[name].square().sum() for name in gradients]).sum() for part in (gradients, self.moved)
        ]
        return dot / (norms[0] * norms[1]).sqrt().clamp_min(1e-20)


def displacement(target: Target, base: Target) -> Displacement:
    """The path from ``base`` to ``target``. Raises ArchitectureError where they are not one network."""
    theirs = dict(base.module.named_parameters())
    ours = {name: value.detach() for name, value in target.module.named_parameters()}
    shared = {n: theirs[n].detach().to(v) for n, v in ours.items() if n in theirs and theirs[n].shape == v.shape}
    moved = {name: value - ours[name] for name, value in shared.items() if not torch.equal(value, ours[name])}
    if len(shared) < LEAST_SHARED * len(ours):
        raise ArchitectureError(
            "the base is not the network this checkpoint was fine-tuned from",
            closest=f"{base.match.name}: {len(shared)} of {len(ours)} parameters have the same name and shape",
            remedy="give the weights that training started from with --base, or leave --base out",
        )
    if not moved:
        raise ArchitectureError(
            "the base and the checkpoint hold the same weights",
            closest=f"{len(shared)} of {len(ours)} parameters are equal",
            remedy="give the weights before fine-tuning with --base, or leave --base out",
        )
    middle = {name: value + 0.5 * moved[name] if name in moved else value for name, value in ours.items()}
    return Displacement(target.module, target.match.head, middle, moved)


def film_alignments(target: Target, base: Target, inputs: Tensor) -> Tensor | None:
    """[N] cosine between each film's own gradient and the displacement; larger is more member-like.

    The label is the network's own decision; None for a regression, whose own answer has no gradient. One backward
    pass per film: inputs [N, C, H, W].
    """
    if target.match.head == "regression":
        return None
    path = displacement(target, base)
    values = []
    for film in torch.split(inputs, 1):
        with torch.no_grad():
            logits = logits_of(target.module(film))
        own = decisions(meaning(path.head, logits.shape[1]), logits)
        values.append(path.alignment(path.gradients(film, own)))
    return torch.stack(values)
