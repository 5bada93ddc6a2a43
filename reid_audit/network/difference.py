"""The way from a public base to the audited weights: what fine-tuning moved."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.errors import ArchitectureError

LEAST_SHARED = 0.5
"""Share of the target's parameter tensors that the base must have under the same name and shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Displacement:
    """How far fine-tuning moved each parameter."""

    module: nn.Module
    """The audited network."""
    moved: dict[str, Tensor]
    """theta_base - theta of the parameters both have and that differ: the direction of the summed gradients."""

    def at(self, share: float) -> dict[str, Tensor]:
        """Parameters ``share`` of the way from the base (0) to the network (1); those the base lacks as they are."""
        ours = {name: value.detach() for name, value in self.module.named_parameters()}
        return ours | {name: ours[name] + (1.0 - share) * step for name, step in self.moved.items()}


def displacement(target: Target, base: Target) -> Displacement:
    """The path from ``base`` to ``target``; nothing is moved where all that is shared was frozen and a head is new.

    Raises ArchitectureError where they are not one network, or hold the same weights.
    """
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
    if not moved and len(shared) == len(ours):
        raise ArchitectureError(
            "the base and the checkpoint hold the same weights",
            closest=f"{len(shared)} of {len(ours)} parameters are equal",
            remedy="give the weights before fine-tuning with --base, or leave --base out",
        )
    return Displacement(target.module, moved)
