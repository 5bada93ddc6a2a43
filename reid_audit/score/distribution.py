"""How far the generator moved towards the training data as a whole: entropy, kurtosis, Frechet distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import stats
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from reid_audit.imaging.stack import Stack, blocks
from reid_audit.records import Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.calibration import Floats
from reid_audit.score.similarity import principal, resized

SIDE = 64
FEATURES = 64
"""Whitened principal component scores of the prior's images in which Frechet distances are taken."""
DISTRIBUTION = (
    *(
        metric
        for name in ("prior", "tuned", "reference")
        for metric in (Metric(f"pixel_entropy_{name}"), Metric(f"pca_kurtosis_{name}"))
    ),
    *(Metric(f"fid_{pair}") for pair in ("prior_tuned", "tuned_reference", "prior_reference")),
)
"""The metrics ``distribution`` produces, in its order."""
FEWEST = 20
"""Images a set needs; the Frechet distance of fewer is mostly bias."""
DRAWS = 5
"""Pairs of sets behind a floor, which is their mean."""


def pixel_entropy(images: Stack) -> float:
    """Shannon entropy, 0 to 8 bits, of the 256-bin grey-level histogram of all images [N, C, H, W] in [0, 1]."""
    counts = torch.zeros(256, dtype=torch.int64)
    for part in blocks(images, 256):
        levels = (part.cpu().clamp(0, 1) * 255).round().to(torch.int64).flatten()
        counts += torch.bincount(levels, minlength=256)
    return float(stats.entropy(counts.double().numpy(), base=2))


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Principal components of a set of images at ``SIDE`` pixels or less."""

    side: int
    mean: Tensor
    axes: Tensor
    """[K, D]"""
    deviation: Tensor
    """[K] standard deviations, largest first."""
    count: int
    """Images they were fitted on."""

    @classmethod
    def of(cls, images: Stack) -> Components:
        """The principal components of images [N, C, H, W], at ``SIDE`` pixels or fewer."""
        side = min(SIDE, images.shape[-1])
        base = resized(images, side).flatten(1)
        return cls(side, base.mean(dim=0), *principal(base - base.mean(dim=0)), count=len(base))

    def scores(self, images: Stack, keep: int) -> Tensor:
        """[N, keep] scores of images [N, C, H, W] on the first ``keep`` components."""
        return (resized(images, self.side).flatten(1) - self.mean) @ self.axes[:keep].T


def pca_kurtosis(images: Stack, reference: Components) -> tuple[float, int]:
    """(mean excess kurtosis, k) of the images' scores on the first k = min(50, n / 10) components of n images."""
    k = max(1, min(50, reference.count // 10))
    scores = reference.scores(images, k).double().numpy()
    return float(np.mean(stats.kurtosis(scores, axis=0, fisher=True))), k


def features(images: Stack, prior: Components) -> Floats:
    """[N, K] whitened principal component scores, K = min(64, M - 1), on the components of M images of the prior."""
    large = int((prior.deviation > 1e-4 * prior.deviation[0]).sum())
    keep = min(FEATURES, prior.count - 1, large)
    return np.asarray((prior.scores(images, keep) / prior.deviation[:keep]).double().numpy())


def frechet(a: Floats, b: Floats) -> float:
    """Frechet distance between Gaussian fits of feature rows a [N, K] and b [M, K] (Heusel et al. 2017, eq. 6)."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0.0)).sum()
    return float(np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + np.trace(first) + np.trace(second) - 2 * cross)


def kernel_distance(a: Floats, b: Floats) -> float:
    """Kernel distance: unbiased squared MMD with the kernel (x.y / K + 1)^3 (Binkowski et al. 2018)."""
    k = a.shape[1]
    aa, bb, ab = (a @ a.T / k + 1) ** 3, (b @ b.T / k + 1) ** 3, (a @ b.T / k + 1) ** 3
    n, m = a.shape[0], b.shape[0]
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * ab.mean())


def expected(real: Floats, count: int, rng: np.random.Generator, measure: Callable[[Floats, Floats], float]) -> float:
    """The distance to be expected between two sets of ``count`` images of the kind of ``real`` [N, K].

    Few images are further apart than many, so two halves of ``real`` would be too far. The sets are drawn from a
    Gaussian with its covariance, shrunk because N may be below K (Ledoit and Wolf 2004).
    """
    values, vectors = np.linalg.eigh(ledoit_wolf(real)[0])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = (rng.standard_normal((2, count, len(values))) @ root.T for _ in range(DRAWS))
    return max(0.0, float(np.mean([measure(one, other) for one, other in drawn])))


def distribution(
    prior_images: Tensor,
    prior_samples: Tensor,
    tuned: Tensor | None,
    reference: Stack | None,
    rng: np.random.Generator,
    *,
    distance: Literal["frechet", "kernel"] = "frechet",
) -> tuple[Measurement, ...]:
    """Entropy, kurtosis and distances of the untuned samples, the tuned ones and the reference films.

    Each tensor is [n, C, H, W] in [0, 1]. ``prior_images`` define the feature space. Distances use equal numbers on
    both cohorts. Their control is the smallest distance that can be expected: that between two sets of as many images
    of one kind (the reference films where they are given, else the untuned samples).
    """
    sets: dict[str, Stack | None] = {"prior": prior_samples, "tuned": tuned, "reference": reference}
    given = {name: images for name, images in sets.items() if images is not None and images.shape[0] >= FEWEST}
    prior = Components.of(prior_images)
    basis = Components.of(given["reference"]) if "reference" in given else prior
    result: list[Measurement] = []
    for name in sets:
        entropy, kurtosis = Metric(f"pixel_entropy_{name}"), Metric(f"pca_kurtosis_{name}")
        if name not in given:
            reason = _why(name, sets[name])
            result += [Unmeasured(metric=entropy, reason=reason), Unmeasured(metric=kurtosis, reason=reason)]
            continue
        count = int(given[name].shape[0])
        result.append(Measured(metric=entropy, value=pixel_entropy(given[name]), n=count))
        result.append(Measured(metric=kurtosis, value=pca_kurtosis(given[name], basis)[0], n=count))
    return (*result, *_distances(prior, sets, given, rng, distance))


def _distances(
    prior: Components,
    sets: Mapping[str, Stack | None],
    given: Mapping[str, Stack],
    rng: np.random.Generator,
    distance: Literal["frechet", "kernel"],
) -> list[Measurement]:
    measure = frechet if distance == "frechet" else kernel_distance
    rows = {name: features(images, prior) for name, images in given.items()}
    real = rows.get("reference", rows.get("prior"))
    result: list[Measurement] = []
    for first, second in (("prior", "tuned"), ("tuned", "reference"), ("prior", "reference")):
        metric = Metric(f"fid_{first}_{second}")
        absent = next((name for name in (first, second) if name not in given), None)
        if absent is not None:
            result.append(Unmeasured(metric=metric, reason=_why(absent, sets[absent])))
            continue
        count = min(rows[first].shape[0], rows[second].shape[0])
        a, b = (rng.permutation(rows[name])[:count] for name in (first, second))
        floor = None if real is None else expected(real, count, rng, measure)
        result.append(Measured(metric=metric, value=max(0.0, measure(a, b)), control=floor, n=count))
    return result


def _why(name: str, images: Stack | None) -> Reason:
    if images is not None:
        short = {"reference": Reason.TOO_FEW_REFERENCE, "tuned": Reason.TOO_FEW_RECONSTRUCTIONS}
        return short.get(name, Reason.PRIOR_TOO_SMALL)
    return {"tuned": Reason.NO_GENERATOR, "reference": Reason.NO_REFERENCE}.get(name, Reason.NOT_COMPUTED)
