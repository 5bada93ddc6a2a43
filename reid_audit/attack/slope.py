"""The gradient that the optimiser follows: recorded on a GPU, in parts where the memory does not take the whole."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from reid_audit.attack.interface import AttackTask
from reid_audit.attack.objectives import Objective
from reid_audit.attack.replay import Differentiable, replayed
from reid_audit.observer import Noted, Observer
from reid_audit.prior.interface import Decoder


@dataclass(slots=True, eq=False)
class Slope:
    """Energy / temperature + |z|^2 / 2 as a function of latents, and its gradient."""

    task: AttackTask
    prior: Decoder
    objective: Objective
    latents: Tensor
    """[N, D], whose gradient is wanted."""
    observer: Observer
    """Hears of a batch that does not fit into the memory."""
    energies: Differentiable = field(init=False)

    def __post_init__(self) -> None:
        self._record()

    def descend(self, points: Tensor, heat: float) -> Tensor:
        """[G] energies at ``points`` [N, D], made of the latents; ``latents.grad`` is then the gradient.

        Raises torch.cuda.OutOfMemoryError where not even single images fit.
        """
        while True:
            self.latents.grad = None
            try:
                energies = self.energies(points)
                torch.autograd.backward(energies.sum() / heat + 0.5 * self.latents.square().sum())
            except torch.cuda.OutOfMemoryError:
                smaller = self.objective.halved()
                if smaller is None:
                    raise
                self.objective = smaller
            else:
                return energies
            self.observer.notice(Noted("out of memory: the attack goes on with half as many images at a time"))
            self._record()

    def _record(self) -> None:
        self.energies = replayed(self._energies, self.latents)

    def _energies(self, points: Tensor) -> Tensor:
        return self.objective.energy(self.task.inputs(self.prior.decode(points)))
