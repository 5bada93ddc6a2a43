"""Positive control of the scorer: would it recognise a film if an attack brought back a poor copy of it?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from reid_audit.imaging.stack import Stack
from reid_audit.records import Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.alone import Images
from reid_audit.score.calibration import Bools, share_interval
from reid_audit.score.comparison import Comparison
from reid_audit.score.similarity import Local, in_blocks, resized, without_hubs

GOAL = 0.4
"""SSIM the copies are degraded to; those between 0.3 and 0.5 count."""
RANGE = (0.3, 0.5)
MIX = 0.5
"""Share of each copy that is somebody else's film, as an attack's prior would fill in."""
BLUR = 1 / 48
"""Standard deviation of the blur as a share of the side."""
FEWEST = 5
_NOISES = (0.0, *(0.01 * 1.25**i for i in range(18)))


def scorer_sensitivity(
    comparison: Comparison, prior_images: Tensor, rng: np.random.Generator, *, most: int = 512
) -> Measurement:
    """Share of degraded films whose nearest pooled patient is their own, with its Clopper-Pearson interval.

    One film per patient, at most ``most`` patients, training patients first; where they are few, hold-out patients
    join, because the question is about the scorer and the gallery. Each film is blurred, mixed half and half with a
    prior image and covered with noise until its SSIM with the original is 0.4. Blur or mixing alone down to 0.4 removes
    the person: two films of different people are already that similar. Control: chance, one over the patients.
    prior_images: [M, C, H, W].
    """
    films, patients, space = comparison.images, comparison.patients, comparison.space
    chosen = _one_film_each(films, patients, comparison.is_member, rng)[:most]
    copies, kept = degraded(
        resized(films[torch.from_numpy(chosen)], space.side), resized(prior_images, space.side), rng
    )
    if kept.size < FEWEST:
        return Unmeasured(metric=Metric.SCORER_SENSITIVITY, reason=Reason.TOO_FEW_REFERENCE)
    nearest = without_hubs(comparison.near(copies)).argmax(dim=1).numpy()
    share = share_interval(int(np.count_nonzero(patients[nearest] == patients[chosen[kept]])), kept.size)
    return Measured(
        metric=Metric.SCORER_SENSITIVITY,
        value=share.value,
        low=share.low,
        high=share.high,
        control=1.0 / np.unique(patients).size,
        n=int(kept.size),
    )


def degraded(images: Tensor, prior_images: Tensor, rng: np.random.Generator) -> tuple[Tensor, NDArray[np.int64]]:
    """(copies [K, C, H, W], their rows among ``images`` [N, C, H, W]): those that came to lie within ``RANGE``."""
    partners = prior_images[torch.from_numpy(rng.integers(prior_images.shape[0], size=images.shape[0]))]
    noise = torch.from_numpy(rng.standard_normal(tuple(images.shape), dtype=np.float32))
    deviation = BLUR * images.shape[-1]
    soft = torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, 0, deviation, deviation)))
    blurred, originals = (1 - MIX) * soft + MIX * partners, Local.of(images)
    copies, reached = blurred, torch.full((len(images),), torch.inf, dtype=torch.float64)
    for level in _NOISES:
        trial = (blurred + level * noise).clamp(0, 1)
        alike = originals.ssim(Local.of(trial))
        nearer = (alike - GOAL).abs() < (reached - GOAL).abs()
        copies, reached = torch.where(nearer[:, None, None, None], trial, copies), torch.where(nearer, alike, reached)
    kept = torch.nonzero((reached >= RANGE[0]) & (reached <= RANGE[1])).flatten()
    return copies[kept], kept.numpy()


def _one_film_each(
    images: Stack, patients: NDArray[np.str_], is_member: Bools, rng: np.random.Generator
) -> NDArray[np.int64]:
    """One film per patient, training patients first, each cohort in random order.

    Drawn in the order of the films' brightness, so that names decide nothing.
    """
    brightness = in_blocks(images, lambda part: part.mean(dim=1, keepdim=True))[:, 0]
    drawn: list[NDArray[np.int64]] = []
    for side in (is_member, ~is_member):
        rows = np.flatnonzero(side)
        rows = rng.permutation(rows[np.argsort(brightness[rows], kind="stable")])
        _, first = np.unique(patients[rows], return_index=True)
        drawn.append(rows[np.sort(first)])
    return np.concatenate(drawn)


def in_audit(comparison: Comparison, images: Images, rng: np.random.Generator) -> Measurement:
    """``scorer_sensitivity`` as an audit asks it: films are degraded by what the prior was fitted on."""
    return scorer_sensitivity(comparison, images.prior, rng)
