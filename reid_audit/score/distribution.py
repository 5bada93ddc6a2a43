"""How far the generator moved towards the training data as a whole: entropy, kurtosis, Frechet distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from reid_audit.records import Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.calibration import Floats
from reid_audit.score.similarity import principal, resized

SIDE = 64
FEATURES = 64
"""Whitened principal component scores of the prior's images in which Frechet distances are taken."""
FEWEST = 20
"""Images a set needs; the Frechet distance of fewer is mostly bias."""


def pixel_entropy(images: Tensor) -> float:
    """Shannon entropy in bits (0 to 8) of the 256-bin grey-level histogram pooled over images in [0, 1]."""
    levels = (images.detach().cpu().clamp(0, 1) * 255).round().to(torch.int64).flatten()
    counts = torch.bincount(levels, minlength=256).double().numpy()
    return float(stats.entropy(counts, base=2))


def pca_kurtosis(images: Tensor, reference: Tensor) -> tuple[float, int]:
    """(mean excess kurtosis, k) of the images' scores on the first k = min(50, n / 10) components of ``reference``."""
    side = min(SIDE, reference.shape[-1])
    base = resized(reference, side).flatten(1)
    k = max(1, min(50, base.shape[0] // 10))
    axes, _ = principal(base - base.mean(dim=0))
    scores = (resized(images, side).flatten(1) - base.mean(dim=0)) @ axes[:k].T
    return float(np.mean(stats.kurtosis(scores.double().numpy(), axis=0, fisher=True))), k


def features(images: Tensor, prior_images: Tensor) -> Floats:
    """[N, K] whitened principal component scores, K = min(64, M - 1), fitted on ``prior_images`` [M, C, H, W]."""
    side = min(SIDE, prior_images.shape[-1])
    base = resized(prior_images, side).flatten(1)
    axes, deviation = principal(base - base.mean(dim=0))
    keep = min(FEATURES, base.shape[0] - 1, int((deviation > 1e-4 * deviation[0]).sum()))
    scores = (resized(images, side).flatten(1) - base.mean(dim=0)) @ axes[:keep].T
    return np.asarray((scores / deviation[:keep]).double().numpy())


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


def distribution(
    prior_images: Tensor,
    prior_samples: Tensor,
    tuned: Tensor | None,
    reference: Tensor | None,
    rng: np.random.Generator,
    *,
    distance: Literal["frechet", "kernel"] = "frechet",
) -> tuple[Measurement, ...]:
    """Entropy, kurtosis and distances of the untuned samples, the tuned ones and the reference films.

    Each tensor is [n, C, H, W] in [0, 1]. ``prior_images`` define the feature space. Distances use equal numbers on
    both sides; their control is the floor: two halves of one set, the reference films where given, the untuned samples
    otherwise, at the number of images a half has.
    """
    sets: dict[str, Tensor | None] = {"prior": prior_samples, "tuned": tuned, "reference": reference}
    given = {name: images for name, images in sets.items() if images is not None and images.shape[0] >= FEWEST}
    basis = given.get("reference", prior_images)
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
    return (*result, *_distances(prior_images, sets, given, rng, distance))


def _distances(
    prior_images: Tensor,
    sets: Mapping[str, Tensor | None],
    given: Mapping[str, Tensor],
    rng: np.random.Generator,
    distance: Literal["frechet", "kernel"],
) -> list[Measurement]:
    measure = frechet if distance == "frechet" else kernel_distance
    rows = {name: features(images, prior_images) for name, images in given.items()}
    real = rows.get("reference", rows.get("prior"))
    floor = None
    if real is not None and real.shape[0] >= 2 * FEWEST:
        mixed = rng.permutation(real)
        floor = max(0.0, measure(mixed[: len(mixed) // 2], mixed[len(mixed) // 2 : 2 * (len(mixed) // 2)]))
    result: list[Measurement] = []
    for first, second in (("prior", "tuned"), ("tuned", "reference"), ("prior", "reference")):
        metric = Metric(f"fid_{first}_{second}")
        absent = next((name for name in (first, second) if name not in given), None)
        if absent is not None:
            result.append(Unmeasured(metric=metric, reason=_why(absent, sets[absent])))
            continue
        count = min(rows[first].shape[0], rows[second].shape[0])
        a, b = (rng.permutation(rows[name])[:count] for name in (first, second))
        result.append(Measured(metric=metric, value=max(0.0, measure(a, b)), control=floor, n=count))
    return result


def _why(name: str, images: Tensor | None) -> Reason:
    if images is not None:
        return Reason.TOO_FEW_REFERENCE if name == "reference" else Reason.PRIOR_TOO_SMALL
    return {"tuned": Reason.NO_GENERATOR, "reference": Reason.NO_REFERENCE}.get(name, Reason.NOT_COMPUTED)
