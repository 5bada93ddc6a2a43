"""One step of adversarial training: non-saturating loss with R1, differentiable augmentation, a running average.

At the last level the generator's loss also holds the energy distance to the films in fixed feature spaces.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.errors import PriorError
from reid_audit.prior.augmentation import augment
from reid_audit.prior.coverage import Coverage
from reid_audit.prior.pggan import WIDTHS, Discriminator, Generator, PgganPrior, initialise
from reid_audit.prior.recipe import TrainRecipe


@dataclass(frozen=True, slots=True, eq=False)
class Adversaries:
    """A generator and a discriminator that learn from each other, with the average of the generator's weights."""

    network: Generator
    critic: Discriminator
    average: Generator
    optimisers: tuple[torch.optim.Adam, torch.optim.Adam]
    """Of the generator and of the discriminator."""
    pyramid: tuple[Tensor, ...]
    """The films [N, C, s, s] in [-1, 1] at each level, s from 4 px on."""
    coverage: Coverage
    recipe: TrainRecipe
    generator: torch.Generator
    device: torch.device

    @classmethod
    def of(cls, images: Tensor, recipe: TrainRecipe, generator: torch.Generator, device: torch.device) -> Adversaries:
        """Networks that have seen nothing yet, for films [N, C, S, S] in [0, 1]."""
        widths, channels = recipe.widths or WIDTHS[images.shape[-1]], images.shape[1]
        network, critic = Generator(recipe.latent, widths, channels), Discriminator(widths, channels)
        for module in (network, critic):
            initialise(module, generator)
            module.to(device).to(memory_format=torch.channels_last)
        optimisers = (_adam(network, recipe), _adam(critic, recipe))
        scaled = (images * 2 - 1).to(device)
        pyramid = tuple(F.adaptive_avg_pool2d(scaled, 4 * 2**level) for level in range(len(widths)))
        average = copy.deepcopy(network).requires_grad_(False)
        coverage = Coverage.of(images, device)
        return cls(network, critic, average, optimisers, pyramid, coverage, recipe, generator, device)

    def step(self, level: int, alpha: float, *, rate: float, taken: int) -> float:
        """One discriminator and one generator step after ``taken`` of them. Returns the generator's loss."""
        penalty = self.recipe.gamma if taken % self.recipe.penalty_every == 0 else 0.0
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            group["lr"] = rate
        self._critic_step(level, alpha, penalty)
        loss = self._generator_step(level, alpha)
        self._average(self.recipe.batch * (taken + 1))
        return loss

    def state(self) -> dict[str, object]:
        """Weights and optimisers, for ``restore``."""
        return {
            "networks": [m.state_dict() for m in (self.network, self.critic, self.average)],
            "optimisers": [o.state_dict() for o in self.optimisers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` gave."""
        for module, values in zip((self.network, self.critic, self.average), state["networks"], strict=True):
            module.load_state_dict(values)
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)

    def begin_from(self, start: PgganPrior) -> None:
        """Take over the networks of ``start``. Raises PriorError where they have another shape."""
        try:
            for module in (self.network, self.average):
                module.load_state_dict(start.network.state_dict())
            if start.discriminator is not None:
                self.critic.load_state_dict(start.discriminator.state_dict())
        except RuntimeError as error:
            raise PriorError(
                f"prior {start.card.id} cannot be trained on: its generator has other widths",
                closest=f"{start.card.side} px, widths {start.network.widths}; wanted {self.network.widths}",
                remedy="give a prior made by 'reid-audit prior train' at this resolution, or start without one",
            ) from error

    def _average(self, shown: int) -> None:
        """Move the average towards the generator, which ``shown`` images have taught so far."""
        keep = 0.5 ** (self.recipe.batch / min(self.recipe.half_life, max(1.0, shown * 0.05)))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)

    def _critic_step(self, level: int, alpha: float, penalty: float) -> None:
        real = augment(self._real(level, alpha), self.generator)
        with torch.no_grad(), self._mixed():
            drawn = self.network(self._latents(self.recipe.batch), level, alpha)
        drawn = augment(drawn.float(), self.generator)
        with self._mixed():
            loss = F.softplus(self.critic(drawn, level, alpha).float()).mean()
            if not penalty:
                loss = loss + F.softplus(-self.critic(real, level, alpha).float()).mean()
        if penalty:
            real.requires_grad_()
            logits = self.critic(real, level, alpha)
            (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
            weight = 0.5 * penalty * self.recipe.penalty_every
            loss = loss + F.softplus(-logits).mean() + weight * slope.square().sum((1, 2, 3)).mean()
        self._descend(self.optimisers[1], loss)

    def _generator_step(self, level: int, alpha: float) -> float:
        covering = self.recipe.coverage > 0 and level == len(self.pyramid) - 1
        batch = self.recipe.batch
        with self._mixed():
            drawn = self.network(self._latents(max(batch, self.recipe.samples) if covering else batch), level, alpha)
        self.critic.requires_grad_(False)
        with self._mixed():
            logits = self.critic(augment(drawn[:batch].float(), self.generator), level, alpha)
        loss = F.softplus(-logits.float()).mean()
        if covering:
            loss = loss + self.recipe.coverage * self.coverage((drawn.float() + 1) / 2, self.generator)
        self._descend(self.optimisers[0], loss)
        self.critic.requires_grad_(True)
        return float(loss.detach())

    def _descend(self, optimiser: torch.optim.Adam, loss: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def _mixed(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def _latents(self, count: int) -> Tensor:
        return torch.randn(count, self.recipe.latent, generator=self.generator).to(self.device)

    def _real(self, level: int, alpha: float) -> Tensor:
        """A batch of training films at this level, faded as the generator's pictures are."""
        pool = self.pyramid[level]
        batch = pool[torch.randint(len(pool), (self.recipe.batch,), generator=self.generator).to(self.device)]
        if level == 0 or alpha >= 1:
            return batch
        coarse = F.interpolate(F.avg_pool2d(batch, 2), scale_factor=2, mode="nearest")
        return coarse + alpha * (batch - coarse)


def _adam(module: torch.nn.Module, recipe: TrainRecipe) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=recipe.rate, betas=(0.0, 0.99))
