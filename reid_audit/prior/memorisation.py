"""Does a prior repeat its own training films? Tests of its samples against training and held-out films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reid_audit.artefacts.provenance import NCC, thumbnails
from reid_audit.imaging.features import fit_features
from reid_audit.prior.interface import Prior

PERMUTATIONS = 2000


@dataclass(frozen=True, slots=True)
class Memorisation:
    """How close samples come to training films, beside films the prior has not seen."""

    samples: int
    nearest_is_training: float
    """Share of samples whose nearest film, of both cohorts pooled, is a training film."""
    expected: float
    """The same share when patients change sides at random."""
    p: float
    """One-sided permutation p-value over patients: small where samples lean towards training films."""
    copies: int
    """Samples that are a training film (thumbnail correlation of 0.98 or more)."""
    closest_training: float
    """Highest thumbnail correlation of any sample with a training film."""
    closest_held_out: float
    """The same with a held-out film."""


@torch.no_grad()
def draw_samples(prior: Prior, count: int, generator: torch.Generator) -> Tensor:
    """[count, C, S, S] draws in [0, 1]."""
    latents = prior.sample_latents(count, generator)
    return torch.cat([prior.decode(part) for part in torch.split(latents, 64)]).clamp(0, 1)


def measure_memorisation(
    prior: Prior,
    training: Tensor,
    training_patients: Sequence[str],
    held_out: Tensor,
    held_out_patients: Sequence[str],
    *,
    generator: torch.Generator,
    samples: int = 512,
) -> Memorisation:
    """Compare ``samples`` draws with films [N, C, S, S] in [0, 1] of both cohorts, at the prior's own side S.

    Nearest is meant in the wavelet space fitted on both cohorts alike, so that it favours neither. The null moves
    whole patients between the cohorts, which is exact where patients of both cohorts are exchangeable.
    """
    drawn = draw_samples(prior, samples, generator)
    films = torch.cat([training, held_out])
    space = fit_features(films, "wavelet")
    nearest = torch.cdist(space(drawn), space(films)).argmin(1).numpy()
    names = [f"t{p}" for p in training_patients] + [f"h{p}" for p in held_out_patients]
    owners = np.unique(names, return_inverse=True)[1]
    is_training = np.zeros(owners.max() + 1, dtype=bool)
    is_training[owners[: len(training)]] = True
    observed = float(is_training[owners[nearest]].mean())
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    null = np.array([rng.permutation(is_training)[owners[nearest]].mean() for _ in range(PERMUTATIONS)])
    seen = thumbnails(drawn) @ thumbnails(training).T
    unseen = thumbnails(drawn) @ thumbnails(held_out).T
    return Memorisation(
        samples=samples,
        nearest_is_training=observed,
        expected=float(null.mean()),
        p=float((1 + (null >= observed).sum()) / (1 + PERMUTATIONS)),
        copies=int((seen.max(1).values >= NCC).sum()),
        closest_training=float(seen.max()),
        closest_held_out=float(unseen.max()),
    )
