"""Fixed feature spaces in which sets of images are compared, and FID and KID in them. No downloaded network.

``pca``: whitened leading principal scores of the fitting images. Blind to what a Gaussian gets wrong: one with the
right covariance is perfect in it. ``wavelet``: mean moduli of oriented Gabor responses on three scales and an
8 x 8 grid (first-order scattering, Bruna and Mallat 2013), then whitened principal scores: it sees edges and texture.
``random``: the same with random filters; training may use it, so that ``wavelet`` is left to measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["pca", "wavelet", "random"]
DIMENSIONS = 64
SCALES, ORIENTATIONS, GRID = 3, 4, 8
RANDOM_FILTERS = 12


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpace:
    """An affine map after a fixed transform: [N, C, S, S] -> [N, K], unit variance per axis on the fitting images."""

    kind: Kind
    mean: Tensor
    axes: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Features [N, K] of images in [0, 1] of the side the space was fitted at. Differentiable."""
        return (_transform(images, self.kind) - self.mean) @ self.axes

    def to(self, device: torch.device) -> FeatureSpace:
        """The same space with its tensors on ``device``."""
        return FeatureSpace(self.kind, self.mean.to(device), self.axes.to(device))


def fit_features(images: Tensor, kind: Kind, *, dimensions: int = DIMENSIONS) -> FeatureSpace:
    """Whitened principal axes of ``images`` [N, C, S, S] under ``kind``; at most ``dimensions`` and (N - 1) / 2."""
    raw = _transform(images, kind).double()
    centred = raw - raw.mean(0)
    _, spread, axes = torch.linalg.svd(centred, full_matrices=False)
    keep = max(1, min(dimensions, (len(images) - 1) // 2, int((spread > spread[0] * 1e-6).sum())))
    scale = math.sqrt(max(1, len(images) - 1)) / spread[:keep]
    return FeatureSpace(kind, raw.mean(0).float(), (axes[:keep].T * scale).float())


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """FID of two feature sets [N, K]: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017).

    Biased upwards by small sets: compare only values from equal set sizes, with the floor of two real sets beside them.
    """
    a, b = first.double(), second.double()
    root = _root(torch.cov(a.T).reshape(a.shape[1], -1))
    other = torch.cov(b.T).reshape(b.shape[1], -1)
    cross = torch.linalg.eigvalsh(root @ other @ root).clamp_min(0).sqrt().sum()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    return float(apart + root.square().sum() + other.trace() - 2 * cross)


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """KID: unbiased squared MMD with the cubic kernel (x.y / K + 1)^3 (Binkowski et al. 2018). May be below 0."""
    a, b = first.double(), second.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    within = sum((kernel(x, x).sum() - kernel(x, x).diagonal().sum()) / (len(x) * (len(x) - 1)) for x in (a, b))
    return float(within - 2 * kernel(a, b).mean())


def energy_distance(first: Tensor, second: Tensor) -> Tensor:
    """2 E|a - b| - E|a - a'| - E|b - b'| of two feature sets [N, K], without bias (Szekely and Rizzo 2013); a scalar.

    Zero in expectation only where both come from one distribution. Differentiable.
    """

    def within(x: Tensor) -> Tensor:
        return torch.cdist(x, x).sum() / (len(x) * (len(x) - 1))

    return 2 * torch.cdist(first, second).mean() - within(first) - within(second)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def _transform(images: Tensor, kind: Kind) -> Tensor:
    if kind == "pca":
        return images.flatten(1)
    return wavelet_moduli(images) if kind == "wavelet" else _moduli(images, _random_filters().to(images))


def wavelet_moduli(images: Tensor) -> Tensor:
    """[N, C, S, S] -> [N, F], not whitened: local means of Gabor moduli, and of the image itself."""
    return _moduli(images, _gabor().to(images))


def _moduli(images: Tensor, filters: Tensor) -> Tensor:
    """[N, F] local means of |image * filter pair| per scale, pair and grid cell, and of the image itself.

    filters [2 M, 1, 7, 7]: real parts, then imaginary parts, of M complex filters.
    """
    grey, pairs = images.mean(1, keepdim=True), len(filters) // 2
    features = [F.adaptive_avg_pool2d(grey, min(GRID, grey.shape[-1])).flatten(1)]
    for _ in range(SCALES):
        if grey.shape[-1] < GRID:
            break
        response = F.conv2d(F.pad(grey, (3, 3, 3, 3), mode="reflect"), filters)
        modulus = (response[:, :pairs].square() + response[:, pairs:].square() + 1e-12).sqrt()
        features.append(F.adaptive_avg_pool2d(modulus, GRID).flatten(1) * 4)
        grey = F.avg_pool2d(grey, 2)
    return torch.cat(features, dim=1)


def _random_filters() -> Tensor:
    """[2 * RANDOM_FILTERS, 1, 7, 7]: normal draws from a fixed seed, without a mean, of the Gabor filters' norm."""
    drawn = torch.randn(2 * RANDOM_FILTERS, 1, 7, 7, generator=torch.Generator().manual_seed(7))
    drawn = drawn - drawn.mean((2, 3), keepdim=True)
    scale: Tensor = _gabor()[0].norm() / drawn.flatten(1).norm(dim=1)
    return drawn * scale.view(-1, 1, 1, 1)


def _gabor() -> Tensor:
    """[2 * orientations, 1, 7, 7]: real and imaginary Gabor filters of wavelength 4 pixels, without a mean."""
    axis = torch.arange(-3.0, 4.0)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    window = torch.exp(-(rows.square() + columns.square()) / (2 * 1.5**2))
    waves = []
    for phase in (0.0, math.pi / 2):
        for index in range(ORIENTATIONS):
            angle = math.pi * index / ORIENTATIONS
            along = rows * math.sin(angle) + columns * math.cos(angle)
            wave = window * torch.cos(along * math.pi / 2 - phase)
            waves.append(wave - window * wave.sum() / window.sum())
    return (torch.stack(waves) / window.sum()).unsqueeze(1)
