"""Did a generator move towards these training films, or towards chest films in general?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from reid_audit.imaging.stack import Chosen
from reid_audit.score.comparison import Comparison
from reid_audit.score.distribution import Components, features, frechet, pca_kurtosis, pixel_entropy

DRAWS = 99
MOST = 256
"""Films of a cohort that are compared, drawn by chance: as many as there are samples."""


class Shown(NamedTuple):
    """A distance to the training films, and to those of as many patients drawn from both cohorts."""

    entropy: tuple[float, float, float]
    """(distance to the training films, mean distance to the others, p); bits."""
    kurtosis: tuple[float, float, float]
    fid: tuple[float, float, float]


def towards(
    sets: Mapping[str, Tensor], prior: Tensor, compared: Comparison, rng: np.random.Generator, *, draws: int = DRAWS
) -> dict[str, Shown]:
    """How near each of ``sets`` [M, C, H, W] is to the training films, and how near to those of other patients.

    In every draw as many patients as were trained on are taken from both cohorts pooled. p is the share of draws
    that are as near as the training patients; exact where the cohorts are exchangeable. ``prior`` [K, C, H, W] spans
    the space of the Frechet distance, as in ``distribution``; all M images are compared with a draw's films, however
    few, so that a distance may only be held against one to equally many films.
    """
    basis = Components.of(prior)
    rows_of_films = features(compared.images, basis)
    levels = _levels(compared)
    made = {name: (pixel_entropy(images), features(images, basis)) for name, images in sets.items()}
    distances: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sets}
    for rows in _draws(compared, draws, rng):
        films = Chosen(compared.images, torch.from_numpy(rows))
        entropy = float(stats.entropy(levels[rows].sum(axis=0), base=2))
        own = Components.of(films)
        kurtosis = pca_kurtosis(films, own)[0]
        for name, (known, rows_of_made) in made.items():
            shape = abs(known - entropy), abs(pca_kurtosis(sets[name], own)[0] - kurtosis)
            distances[name].append((*shape, frechet(rows_of_made, rows_of_films[rows])))
    return {name: Shown(*map(_against, zip(*found, strict=True))) for name, found in distances.items()}


def _draws(compared: Comparison, draws: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Films of the training patients, then those of as many patients drawn from both cohorts, ``draws`` times."""
    names, owner = np.unique(compared.patients, return_inverse=True)
    trained = np.unique(owner[compared.is_member])
    for draw in range(draws + 1):
        people = trained if draw == 0 else rng.permutation(len(names))[: len(trained)]
        rows = rng.permutation(np.flatnonzero(np.isin(owner, people)))
        yield rows[:MOST]


def _levels(compared: Comparison) -> NDArray[np.int64]:
    """[N, 256] grey-level histogram of every film."""
    grey = (compared.images[:].clamp(0, 1) * 255).round().to(torch.int64).flatten(1)
    return np.stack([np.bincount(row, minlength=256) for row in grey.numpy()])


def _against(distances: tuple[float, ...]) -> tuple[float, float, float]:
    """The first distance, the mean of the others, and the share of them that are not larger."""
    own, others = distances[0], np.array(distances[1:])
    return own, float(others.mean()), float((1 + np.count_nonzero(others <= own)) / (1 + others.size))


def by_size(
    images: Tensor, patients: NDArray[np.str_], sizes: tuple[int, ...], rng: np.random.Generator, *, draws: int = 20
) -> dict[str, tuple[float, float]]:
    """(pixel entropy, PCA kurtosis) of so many of the people alone, as training films are measured: means of draws."""
    found = {}
    for size in sizes:
        each = []
        for _ in range(draws):
            people = rng.permutation(np.unique(patients))[:size]
            chosen = images[torch.from_numpy(np.flatnonzero(np.isin(patients, people)))]
            each.append((pixel_entropy(chosen), pca_kurtosis(chosen, Components.of(chosen))[0]))
        entropy, kurtosis = np.mean(each, axis=0)
        found[str(size)] = (float(entropy), float(kurtosis))
    return found
