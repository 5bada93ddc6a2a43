"""The memorisation test fires on a prior that replays its films, and not on an honest one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.artefacts.provenance import Declaration
from reid_audit.prior.gaussian import fit_gaussian
from reid_audit.prior.memorisation import Memorisation, measure_memorisation
from reid_audit.records import PriorCard


def films(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(n, 1, 6, 6, generator=generator), size=(24, 24), mode="bicubic").clamp(0, 1)


TRAINING, HELD_OUT = films(80, 0), films(80, 1)


@dataclass
class Replay:
    """A prior whose samples are its training films with a little noise."""

    card = PriorCard(id="replay", kind="pggan", sha256="0" * 64, side=24)
    latent_dim = 2
    noise: float = 0.01

    def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    def decode(self, latents: Tensor) -> Tensor:
        chosen = TRAINING[(latents[:, 0].abs() * 1e4).long() % len(TRAINING)]
        return chosen + self.noise * torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0))

    def to(self, device: torch.device) -> Replay:
        return self


def measured(prior: object) -> Memorisation:
    people = [f"p{i // 2}" for i in range(80)]
    generator = torch.Generator().manual_seed(5)
    return measure_memorisation(prior, TRAINING, people, HELD_OUT, people, generator=generator, samples=100)  # type: ignore[arg-type]


def test_replayed_films_are_found() -> None:
    found = measured(Replay())
    assert found.nearest_is_training == 1.0
    assert found.p < 0.001
    assert found.copies == 100
    assert found.closest_training > 0.98 > found.closest_held_out


def test_an_honest_prior_is_not_accused() -> None:
    prior = fit_gaussian(films(200, 9), Declaration("t"), torch.Generator().manual_seed(0))
    found = measured(prior)
    assert found.p > 0.05
    assert abs(found.expected - 0.5) < 0.1
    assert found.copies == 0
