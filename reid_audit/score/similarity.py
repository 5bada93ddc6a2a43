"""How alike two films are: the whitened space that ranks patients, aligned correlation, and SSIM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reid_audit.imaging.stack import Stack, blocks

SIDE = 64
"""Largest side at which films are compared; smaller films keep theirs."""
NCC_SIDE = 32
"""Largest side at which the second scorer compares."""
HUBS = 10
GREY = 0.5
"""What is taken from images before products of theirs are found."""
_SSIM_SIGMA = 1.5
_SSIM_RADIUS = 5
UNBIASED = (2 * _SSIM_RADIUS + 1) ** 2 / ((2 * _SSIM_RADIUS + 1) ** 2 - 1)
"""Unbiased (co)variances over those of the window."""
_C1, _C2 = 0.01**2, 0.03**2
_BYTES = 1 << 28


class Space(Protocol):
    """Where images are compared: the match space, or a network that embeds films."""

    @property
    def side(self) -> int:
        """Pixels at which it sees images."""

    def embed(self, images: Stack) -> Tensor:
        """[N, C, H, W] in [0, 1] -> [N, K] unit vectors, so that inner products are cosines."""

    def scores(self, images: Stack) -> Tensor:
        """[N, C, H, W] -> [N, K] of which distances mean something."""


@dataclass(frozen=True, slots=True, eq=False)
class MatchSpace:
    """Square-root-whitened principal components of the prior's images."""

    side: int
    mean: Tensor
    """[D] float32, D = channels * side * side."""
    axes: Tensor
    """[K, D] components, each divided by the square root of its standard deviation."""

    def embed(self, images: Stack) -> Tensor:
        """[N, C, H, W] in [0, 1] -> [N, K] unit vectors, so that inner products are cosines."""
        return functional.normalize(self.scores(images), dim=1)

    def scores(self, images: Stack) -> Tensor:
        """[N, C, H, W] -> [N, K] square-root-whitened scores."""
        return torch.cat([(resized(p, self.side).flatten(1) - self.mean) @ self.axes.T for p in blocks(images)])


def fit_match_space(prior_images: Tensor, components: int = 256) -> MatchSpace:
    """Fit the space on the prior's images [M, C, H, W]; at most min(components, M - 1) axes.

    Scores are divided by the square root of the standard deviation: full whitening drowns in noise, no whitening in
    the position of the lungs.
    """
    side = min(SIDE, prior_images.shape[-1])
    flat = resized(prior_images, side).flatten(1)
    mean = flat.mean(dim=0)
    axes, deviation = principal(flat - mean)
    keep = min(components, int((deviation > 1e-3 * deviation[0].clamp_min(1e-12)).sum()))
    return MatchSpace(side=side, mean=mean, axes=axes[:keep] / deviation[:keep, None].sqrt().clamp_min(1e-6))


def principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Axes [K, D] and standard deviations [K] of centred rows [M, D], largest first, from the smaller Gram matrix."""
    rows, columns = centred.shape
    wide = rows < columns
    values, vectors = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    singular, vectors = values.flip(0).clamp_min(0).sqrt(), vectors.flip(1)
    axes = (vectors.T @ centred) / singular.clamp_min(1e-12)[:, None] if wide else vectors.T
    return axes, singular / max(1, rows - 1) ** 0.5


def resized(images: Stack, side: int) -> Tensor:
    """[N, C, H, W] float32 on CPU at ``side``: area averaging downwards, bilinear upwards."""
    parts = [_resized(part, side) for part in blocks(images)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _resized(images: Tensor, side: int) -> Tensor:
    films = images.detach().to("cpu", torch.float32)
    if films.shape[-2:] == (side, side):
        return films
    if films.shape[-1] > side:
        return functional.interpolate(films, size=(side, side), mode="area")
    return functional.interpolate(films, size=(side, side), mode="bilinear", align_corners=False)


def in_blocks(images: Stack, summary: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
    """[N, K] ``summary`` of images [N, C, H, W], given [B, D] float64 of a few at a time: all would be large."""
    parts = (part.detach().to("cpu", torch.float64) for part in blocks(images))
    return np.concatenate([summary(part.flatten(1)).numpy() for part in parts])


def cosines(space: Space, reconstructions: Tensor, images: Stack) -> Tensor:
    """[R, N] cosine between reconstructions and films in the match space: the study's ``NN``."""
    return space.embed(reconstructions) @ space.embed(images).T


def match_scores(space: MatchSpace, reconstructions: Tensor, images: Stack) -> Tensor:
    """[R, N] cosine minus the mean of the row's 10 best, over training and hold-out films pooled.

    A blurred reconstruction resembles everybody; subtracting its best matches asks whether one film stands out.
    """
    return without_hubs(cosines(space, reconstructions, images))


def without_hubs(similarity: Tensor) -> Tensor:
    """[R, N] minus the mean of each row's ``HUBS`` best."""
    best = similarity.topk(min(HUBS, similarity.shape[1]), dim=1).values
    return similarity - best.mean(dim=1, keepdim=True)


def aligned_ncc(reconstructions: Tensor, images: Stack, *, side: int = NCC_SIDE, shift: int = 2) -> Tensor:
    """[R, N] best normalised cross-correlation over shifts of up to ``shift`` pixels: the second scorer.

    Both are reduced to ``side`` and compared on the interior, so that every shift sees equally many pixels.
    """
    side = min(side, reconstructions.shape[-1])
    moved, window = resized(reconstructions, side), side - 2 * shift
    places = [(dy, dx) for dy in range(2 * shift + 1) for dx in range(2 * shift + 1)]
    shifted = [_standard(moved[..., dy : dy + window, dx : dx + window]) for dy, dx in places]
    best = torch.full((len(reconstructions), len(images)), -1.0)
    begin = 0
    for part in blocks(images):
        still = _standard(resized(part, side)[..., shift : shift + window, shift : shift + window])
        there = best[:, begin : begin + len(part)]
        for each in shifted:
            torch.maximum(there, each @ still.T, out=there)
        begin += len(part)
    return best


def ncc(a: Tensor, b: Tensor) -> Tensor:
    """[R, N] normalised cross-correlation of images a [R, C, H, W] and b [N, C, H, W]."""
    return _standard(a) @ _standard(b).T


def distinct(images: Tensor, threshold: float = 0.95) -> Tensor:
    """Indices of images whose correlation with every earlier kept image is below ``threshold``: the first stays."""
    alike = ncc(images, images)
    kept: list[int] = []
    for i in range(images.shape[0]):
        if not kept or float(alike[i, kept].max()) < threshold:
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """[N] structural similarity of image pairs a, b [N, C, H, W] (Wang et al. 2004), averaged over channels.

    Gaussian window with sigma 1.5 and 11 pixels, unbiased covariance, data range 1: the same numbers as scikit-image's
    ``structural_similarity(x, y, gaussian_weights=True, data_range=1.0)`` on float64, to 1e-6. Sides must be 11 or
    more.
    """
    return Local.of(a).ssim(Local.of(b))


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """Images with their local means and variances, which every comparison of theirs shares.

    Moments are found in float64. Pairs are compared in float32, on images less ``GREY``, where nothing large cancels:
    SSIM is that of float64 to 1e-7.
    """

    centred: Tensor
    """[N, C, H, W] float32, less ``GREY``."""
    mean: Tensor
    """[N, C, H - 10, W - 10] float32."""
    level: Tensor
    """The mean less ``GREY``."""
    square: Tensor
    """Of the mean itself."""
    variance: Tensor
    """Unbiased."""
    window: _Windows

    @classmethod
    def of(cls, images: Tensor) -> Local:
        """Of images [N, C, H, W], on the processor."""
        values = images.detach().to("cpu", torch.float64)
        window = _windows(values)
        mean = window.smooth(values)
        variance = UNBIASED * (window.smooth(values * values) - mean**2)
        moments = (mean.float(), (mean - GREY).float(), (mean**2).float(), variance.float())
        return cls((values - GREY).float(), *moments, window.single())

    def __getitem__(self, rows: slice | Tensor, /) -> Local:
        """Some of the images."""
        moments = (self.mean[rows], self.level[rows], self.square[rows], self.variance[rows])
        return Local(self.centred[rows], *moments, self.window)

    def ssim(self, other: Local) -> Tensor:
        """[N] SSIM (eq. 13 of Wang et al. 2004) of pairs, float64; either side may be a single image."""
        product = self.window.smooth(self.centred * other.centred)
        covariance = torch.addcmul(product, self.level, other.level, value=-1.0).mul_(2 * UNBIASED).add_(_C2)
        means = (self.mean * other.mean).mul_(2).add_(_C1)
        below = (self.square + other.square).add_(_C1).mul_((self.variance + other.variance).add_(_C2))
        return covariance.mul_(means).div_(below).mean(dim=(1, 2, 3), dtype=torch.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """The separable Gaussian window as two banded matrices; only positions where it fits entirely."""

    rows: Tensor
    columns: Tensor

    def smooth(self, images: Tensor) -> Tensor:
        return self.rows @ images @ self.columns.T

    def single(self) -> _Windows:
        """In float32."""
        return _Windows(self.rows.float(), self.columns.float())


def _windows(images: Tensor) -> _Windows:
    return _Windows(_band(images.shape[-2]).to(images.dtype), _band(images.shape[-1]).to(images.dtype))


def _band(side: int) -> Tensor:
    """[side - 10, side] float64: row i averages pixels i .. i + 10 with Gaussian weights."""
    offsets = torch.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    weights = weights / weights.sum()
    band = torch.zeros(side - 2 * _SSIM_RADIUS, side, dtype=torch.float64)
    for row in range(band.shape[0]):
        band[row, row : row + weights.numel()] = weights
    return band


def _standard(images: Tensor) -> Tensor:
    """[N, ...] -> [N, D] with mean 0 and norm 1."""
    flat = images.detach().to("cpu", torch.float32).flatten(1)
    return functional.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)
